import CCPUKernels
import Foundation
package import Transformer

/// Prefill and decode rates of a model on the CPU, beside the rate at which this machine reads memory.
package struct CPUBenchmark {
    private let executor: CPUExecutor
    private let clock = ContinuousClock()

    package init(_ executor: CPUExecutor) { self.executor = executor }

    /// Tokens a second of encoding one sequence of `tokens` seeded random ids; the first run is a warm-up and not counted.
    package func encodeRate(tokens: Int, runs: Int) throws -> Spread? {
        let batch = TokenBatch([randomIDs(tokens)])
        let head = EncoderHead(pooling: .lastToken)
        return Spread(
            try (0...runs).map { _ in
                let duration = try clock.measure { _ = try executor.encode(batch, head: head) }
                return Double(tokens) / (duration / .seconds(1))
            }.dropFirst().map { $0 })
    }

    package struct Decode {
        /// Tokens a second.
        package let rate: Spread
        /// Bytes a second at which the same threads read memory, measured right behind each run: on a shared machine it changes from second to second.
        package let bandwidth: Spread
        /// A run's rate over the rate of reads behind it.
        package let share: Spread
        package let bytesPerStep: Int
        package let cacheByteCount: Int
        /// The process's peak, before the buffer of the reads was taken.
        package let peakByteCount: Int
    }

    /// Single steps behind a prompt of `context` tokens; the first run is a warm-up and not counted.
    package func decode(context: Int, steps: Int, runs: Int) throws -> Decode? {
        let session = try executor.makeSession()
        _ = try session.extend(randomIDs(context))
        let bytes = bytesPerDecodeStep(context: context + steps / 2)
        var probe: MemoryProbe?
        var peak = 0
        var rates: [Double] = []
        var reads: [Double] = []
        for _ in 0...runs {
            session.rewind(to: context)
            var id: Int32 = 1
            let duration = try clock.measure {
                for _ in 0..<steps {
                    let logits = try session.extend([id])
                    // The next token depends on the logits, as it does in use.
                    id = Int32(logits.indices.max { logits[$0] < logits[$1] } ?? 0)
                }
            }
            guard let probe else {
                peak = ProcessMemory.peakByteCount ?? 0
                probe = MemoryProbe()
                continue
            }
            rates.append(Double(steps) / (duration / .seconds(1)))
            reads.append(probe.bytesPerSecond(executor))
        }
        let shares = zip(rates, reads).map { $0 * Double(bytes) / $1 }
        guard let rate = Spread(rates), let bandwidth = Spread(reads), let share = Spread(shares) else { return nil }
        return Decode(
            rate: rate, bandwidth: bandwidth, share: share, bytesPerStep: bytes, cacheByteCount: session.cacheByteCount, peakByteCount: peak)
    }

    /// Bytes a decode step reads: all weights but the embedding table's other rows, and the cache.
    func bytesPerDecodeStep(context: Int) -> Int {
        let spec = executor.spec
        let unreadTable = spec.hasTiedHead ? 0 : executor.weights.embedding.byteCount
        return executor.weights.byteCount - unreadTable
            + 2 * 4 * spec.layers.count * spec.keyValueHeads * spec.headDimension * context
    }

    private func randomIDs(_ count: Int) -> [Int32] {
        let numbers = RandomNumbers(seed: 1, stream: "ids")
        return (0..<count).map { Int32((abs(numbers.normal($0)) * 1e6).truncatingRemainder(dividingBy: Float(executor.spec.vocabularySize))) }
    }
}

/// A buffer of a GiB that threads read from end to end.
private final class MemoryProbe {
    private static let byteCount = 1 << 30
    private let buffer = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 4096)
    private var sum: UInt64 = 0

    /// Written once with numbers, so that every page is a page of its own.
    init() {
        let words = buffer.bindMemory(to: UInt64.self, capacity: Self.byteCount / 8)
        for index in 0..<Self.byteCount / 8 { words[index] = UInt64(index) &* 0x9e37_79b9_7f4a_7c15 }
    }

    deinit { buffer.deallocate() }

    func bytesPerSecond(_ executor: CPUExecutor) -> Double {
        let duration = ContinuousClock().measure { executor.withPool { sum &+= apus_read_bandwidth_probe($0, buffer, Self.byteCount) } }
        return Double(Self.byteCount) / (duration / .seconds(1))
    }
}
