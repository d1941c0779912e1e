import ApusCommand
import Foundation
import Synchronization
import Testing

/// Chunks computed at the same time and handed out in order.
@Suite struct LanesTests {
    private struct Fault: Error, Equatable { let index: Int }

    /// Numbers from 0 on; those of `slow` wait to be let go, but not for ever.
    private final class Source: Sendable {
        let gates: [Int: DispatchSemaphore]
        let next = Atomic(0)
        private let timeouts = Atomic(0)
        var hasGivenUp: Bool { timeouts.load(ordering: .relaxed) > 0 }

        init(slow: [Int] = []) { gates = Dictionary(uniqueKeysWithValues: slow.map { ($0, DispatchSemaphore(value: 0)) }) }

        func stage(upTo count: Int, fault: Int? = nil) -> Stage<Int> {
            Stage { [self] _ in
                let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
                if let gate = gates[index], gate.wait(timeout: .now() + 10) == .timedOut { timeouts.add(1, ordering: .relaxed) }
                if index == fault { throw Fault(index: index) }
                return index < count ? index : nil
            }
        }
    }

    @Test(arguments: [1, 2, 3]) func resultsComeInOrderAndSomeAtATime(count: Int) throws {
        let open = Atomic(0)
        let mostOpen = Atomic(0)
        var results: [Int] = []
        try Lanes.run(Source().stage(upTo: 40), count: count) { index in
            _ = mostOpen.max(open.add(1, ordering: .relaxed).newValue, ordering: .relaxed)
            defer { open.subtract(1, ordering: .relaxed) }
            Thread.sleep(forTimeInterval: Double((index * 7) % 4 + 1) / 1000)
            return index
        } finish: {
            results.append($0)
        }
        #expect(results == Array(0..<40))
        #expect(mostOpen.load(ordering: .relaxed) == count)
    }

    /// Each is let go only after the one ahead of it was handed out.
    @Test(arguments: [1, 2]) func whatIsReadyDoesNotWaitForMore(count: Int) throws {
        let source = Source(slow: [1, 2, 3])
        var results: [Int] = []
        try Lanes.run(source.stage(upTo: 3), count: count, compute: { $0 }) {
            results.append($0)
            source.gates[$0 + 1]?.signal()
        }
        #expect(results == [0, 1, 2])
        #expect(!source.hasGivenUp)
    }

    @Test(arguments: [1, 2, 3]) func aFaultOfTheStageComesBehindWhatIsAheadOfIt(count: Int) {
        var results: [Int] = []
        #expect(throws: Fault(index: 5)) {
            try Lanes.run(Source().stage(upTo: 9, fault: 5), count: count) { index in
                Thread.sleep(forTimeInterval: 0.01)
                return index
            } finish: {
                results.append($0)
            }
        }
        #expect(results == [0, 1, 2, 3, 4])
    }

    /// The stage does not give a sixth: a fault must not wait for it, but for what is under way.
    @Test(arguments: [1, 2, 3]) func aFaultOfTheWorkEndsIt(count: Int) {
        let source = Source(slow: [6])
        let open = Atomic(0)
        // The one behind the fault has begun.
        let next = DispatchSemaphore(value: 0)
        var results: [Int] = []
        #expect(throws: Fault(index: 4)) {
            try Lanes.run(source.stage(upTo: 9), count: count) { index in
                open.add(1, ordering: .relaxed)
                defer { open.subtract(1, ordering: .relaxed) }
                if index == 5 { next.signal() }
                guard index != 4 else {
                    if count > 1 { _ = next.wait(timeout: .now() + 10) }
                    // A third lane waits for the stage by then.
                    Thread.sleep(forTimeInterval: 0.05)
                    throw Fault(index: 4)
                }
                Thread.sleep(forTimeInterval: index == 5 ? 0.2 : 0.001)
                return index
            } finish: {
                results.append($0)
            }
        }
        #expect(results == [0, 1, 2, 3])
        #expect(open.load(ordering: .relaxed) == 0)
        #expect(!source.hasGivenUp)
        source.gates[6]?.signal()
    }

    @Test(arguments: [1, 2]) func whoeverTakesMayEndIt(count: Int) {
        var results: [Int] = []
        #expect(throws: Fault(index: 2)) {
            try Lanes.run(Source().stage(upTo: 9), count: count, compute: { $0 }) {
                if $0 == 2 { throw Fault(index: 2) }
                results.append($0)
            }
        }
        #expect(results == [0, 1])
    }
}
