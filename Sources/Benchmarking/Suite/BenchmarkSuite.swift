package import CUDA
import Foundation

/// Times work on one GPU with its events: ours and peers turn by turn, run by run, so that all of them see the same clocks.
///
/// A run is a number of calls between two events, divided by that number. Warm: the calls are captured into a graph once and replayed, each call
/// with the next set of inputs, so that enough sets put one call's inputs out of L2 before they come again. Cold: one call a run, after a
/// fill of a buffer that is larger than L2.
package final class BenchmarkSuite {
    package struct Options: Sendable {
        /// Runs that are counted.
        package var runs = 11
        /// Runs ahead of them that are not.
        package var warmups = 2
        /// Calls of a run at most; fewer where a run would take longer than a few milliseconds.
        package var maximumCalls = 20
        /// One call a run with L2 emptied ahead of it.
        package var isCold = false

        package init() {}

        package var description: String {
            "\(runs) runs after \(warmups) for warming up, "
                + (isCold ? "one call a run with L2 emptied ahead of it" : "up to \(maximumCalls) calls a run in a graph")
        }
    }

    /// One competitor of a race.
    package struct Entry {
        package let name: String
        package let role: BenchmarkRole
        /// Whether a graph can hold its calls: nothing in them waits or allocates.
        package var isCapturable: Bool
        /// Puts one call into the stream; the number counts calls, for the choice of inputs.
        package let run: (Int) throws -> Void
        /// Holds a result against a reference. Runs once, ahead of the race.
        package let check: () throws -> BenchmarkCheck
        package var note: String

        package init(
            _ name: String, role: BenchmarkRole = .ours, isCapturable: Bool = true, note: String = "",
            check: @escaping () throws -> BenchmarkCheck = { .unchecked("") }, run: @escaping (Int) throws -> Void
        ) {
            self.name = name
            self.role = role
            self.isCapturable = isCapturable
            self.note = note
            self.check = check
            self.run = run
        }
    }

    package let stream: CUDA.Stream
    package var options: Options
    private let events: (start: Event, end: Event)
    private var flush: DeviceBuffer?

    package init(on stream: CUDA.Stream, options: Options = Options()) throws {
        self.stream = stream
        self.options = options
        events = (try Event(stream.context), try Event(stream.context))
    }

    /// Rows of all entries, in their order. A result that is wrong is timed and marked; one whose call fails is left out with a remark.
    ///
    /// - Parameter between: Called ahead of each third of the runs, for peers of another process.
    package func race(_ entries: [Entry], between: () throws -> Void = {}) throws -> (rows: [BenchmarkRow], remarks: [String]) {
        var remarks: [String] = []
        var prepared: [Prepared] = []
        for entry in entries {
            do {
                let check = try entry.check()
                prepared.append(try prepare(entry, check))
            } catch {
                // A kernel that crashed takes the context along; nothing after it would say more.
                if let error = error as? CUDAError, error.isFatalToContext { throw error }
                remarks.append("\(entry.name): \(error)")
            }
        }
        for turn in 0..<options.runs + options.warmups {
            if turn % max(1, (options.runs + options.warmups + 2) / 3) == 0 { try between() }
            for index in prepared.indices {
                let seconds = try time(prepared[index])
                if turn >= options.warmups { prepared[index].samples.append(seconds) }
            }
        }
        let rows = prepared.compactMap { one in
            BenchmarkRow(name: one.entry.name, role: one.entry.role, samples: one.samples, check: one.check, note: one.entry.note)
        }
        return (rows, remarks)
    }

    /// The median time of one call in seconds, without a check: for those who have checked.
    package func medianSeconds(_ run: @escaping (Int) throws -> Void, isCapturable: Bool = true) throws -> Double {
        let prepared = try prepare(Entry("", isCapturable: isCapturable, run: run), .unchecked(""))
        var samples: [Double] = []
        for turn in 0..<options.runs + options.warmups {
            let seconds = try time(prepared)
            if turn >= options.warmups { samples.append(seconds) }
        }
        guard let spread = Spread(samples) else { throw MetricsError(description: "the GPU's events gave no times") }
        return spread.median
    }

    private struct Prepared {
        let entry: Entry
        let check: BenchmarkCheck
        let calls: Int
        let graph: ExecutableGraph?
        var samples: [Double] = []
    }

    /// Runs an entry a few times, so that its kernels are compiled and its speed is known, and captures its calls.
    private func prepare(_ entry: Entry, _ check: BenchmarkCheck) throws -> Prepared {
        try entry.run(0)
        try stream.synchronize()
        try stream.record(events.start)
        for call in 1...3 { try entry.run(call) }
        try stream.record(events.end)
        try stream.synchronize()
        let estimate = try events.end.elapsed(since: events.start) / .seconds(3)
        // About three milliseconds a run, but never less than four calls.
        let calls = options.isCold ? 1 : max(4, min(options.maximumCalls, Int(3e-3 / max(estimate, 1e-7))))
        guard entry.isCapturable else { return Prepared(entry: entry, check: check, calls: calls, graph: nil) }
        let graph = try stream.capture { for call in 0..<calls { try entry.run(call) } }.instantiate()
        try graph.upload(on: stream)
        return Prepared(entry: entry, check: check, calls: calls, graph: graph)
    }

    private func time(_ prepared: Prepared) throws -> Double {
        if options.isCold { try emptyCache() }
        try stream.record(events.start)
        if let graph = prepared.graph {
            try graph.launch(on: stream)
        } else {
            for call in 0..<prepared.calls { try prepared.entry.run(call) }
        }
        try stream.record(events.end)
        try events.end.synchronize()
        return try events.end.elapsed(since: events.start) / .seconds(1) / Double(prepared.calls)
    }

    /// Writes more than L2 holds, so that nothing of the next call's inputs is there.
    private func emptyCache() throws {
        if flush == nil { flush = try DeviceBuffer(byteCount: max(256 << 20, 4 * stream.context.device.l2ByteCount), in: stream.context) }
        if let region = flush?.region { try stream.fill(region, with: 1) }
    }
}

extension BenchmarkSuite {
    /// Sets of inputs that are needed so that each has left L2 before it comes again: four times L2 in all, 2 to 8 sets.
    package func inputSets(byteCount: Int) -> Int {
        max(2, min(8, 4 * stream.context.device.l2ByteCount / max(1, byteCount) + 1))
    }
}
