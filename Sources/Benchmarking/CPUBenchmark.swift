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

    /// Tokens a second of single steps behind a prompt of `context` tokens.
    package func decodeRate(context: Int, steps: Int, runs: Int) throws -> Spread? {
        let session = try executor.makeSession()
        _ = try session.extend(randomIDs(context))
        var rates: [Double] = []
        for run in 0...runs {
            session.rewind(to: context)
            var id: Int32 = 1
            let duration = try clock.measure {
                for _ in 0..<steps {
                    let logits = try session.extend([id])
                    // The next token depends on the logits, as it does in use.
                    id = Int32(logits.indices.max { logits[$0] < logits[$1] } ?? 0)
                }
            }
            if run > 0 { rates.append(Double(steps) / (duration / .seconds(1))) }
        }
        return Spread(rates)
    }

    /// Bytes a decode step reads: all weights but the embedding table's other rows, and the cache.
    package func bytesPerDecodeStep(context: Int) -> Int {
        let spec = executor.spec
        let unreadTable = spec.hasTiedHead ? 0 : executor.weights.embedding.byteCount
        return executor.weights.byteCount - unreadTable
            + 2 * 4 * spec.layers.count * spec.keyValueHeads * spec.headDimension * context
    }

    /// Bytes a second at which the executor's threads read `byteCount` bytes of memory.
    package func readBandwidth(byteCount: Int = 1 << 30, runs: Int = 5) -> Spread? {
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 4096)
        defer { buffer.deallocate() }
        // Written once with numbers, so that every page is a page of its own.
        let words = buffer.bindMemory(to: UInt64.self, capacity: byteCount / 8)
        for index in 0..<byteCount / 8 { words[index] = UInt64(index) &* 0x9e37_79b9_7f4a_7c15 }
        var sum: UInt64 = 0
        let rates = (0...runs).map { _ in
            let duration = clock.measure { executor.withPool { sum &+= apus_read_bandwidth_probe($0, buffer, byteCount) } }
            return Double(byteCount) / (duration / .seconds(1))
        }
        // The sum is used, so the reads cannot be left out.
        return sum == 1 ? nil : Spread(Array(rates.dropFirst()))
    }

    private func randomIDs(_ count: Int) -> [Int32] {
        let numbers = RandomNumbers(seed: 1, stream: "ids")
        return (0..<count).map { Int32((abs(numbers.normal($0)) * 1e6).truncatingRemainder(dividingBy: Float(executor.spec.vocabularySize))) }
    }
}
