import CUDA
import Foundation
import Operators
import Tensors
package import Transformer

/// Times an encoder's forward pass on a GPU at fixed shapes, with batches one behind the other as they come in use.
package struct EmbedBenchmark {
    /// Texts of equal length.
    package struct Shape: Sendable, Hashable, CustomStringConvertible {
        package let length: Int
        package let count: Int

        package init(length: Int, count: Int) {
            self.length = length
            self.count = count
        }

        /// Reads "512x16": texts of 512 tokens, 16 of them.
        package init?(_ text: String) {
            let parts = text.split(separator: "x").map { Int($0) }
            guard parts.count == 2, let length = parts[0], let count = parts[1], length >= 1, count >= 1 else { return nil }
            self.init(length: length, count: count)
        }

        package var tokens: Int { length * count }
        package var description: String { "\(length)x\(count)" }

        /// The shapes of the published benchmark.
        package static let published = [(128, 64), (256, 32), (512, 16), (1024, 8), (4096, 16), (10_240, 4)].map { Shape(length: $0.0, count: $0.1) }
    }

    package struct Row: Sendable {
        package let shape: Shape
        package let precision: MatrixPrecision
        /// Seconds a batch, of each counted run and in all.
        package let samples: [Double]
        package let seconds: Spread
        package let work: EmbedWork
        /// Seconds that the host takes to put a batch into the stream.
        package let hostSeconds: Double
        /// Seconds of each step and its runs in one batch, slowed by the measuring; empty unless asked for.
        package let steps: [(name: String, seconds: Double, count: Int)]
        /// Of the batch, one behind the other.
        package let vectors: [Float]

        package var tokensPerSecond: Double { Double(shape.tokens) / seconds.median }
        package var operationsPerSecond: Double { work.trueOperations / seconds.median }
        package var publishedOperationsPerSecond: Double { work.publishedOperations / seconds.median }
    }

    let executor: CUDAExecutor
    private let head: EncoderHead

    package init(_ executor: CUDAExecutor, head: EncoderHead) {
        self.executor = executor
        self.head = head
    }

    /// Times batches of a shape.
    ///
    /// A batch's time is that from the end of the batch before to its own, while up to three are on their way: uploads, launches and downloads are in it.
    package func measure(_ shape: Shape, runs: Int, warmups: Int = 3, profiles: Bool) throws -> Row {
        let batch = TokenBatch((0..<shape.count).map { randomIDs(shape.length, stream: "\(shape) \($0)") })
        let clock = ContinuousClock()
        var marks: [Event] = []
        var host: [Double] = []
        var waiting: [EncodingTask] = []
        var vectors: [Float] = []
        for _ in 0..<runs + warmups {
            if waiting.count == 3 { _ = try waiting.removeFirst().wait() }
            let start = clock.now
            waiting.append(try executor.startEncoding(batch, head: head))
            host.append((clock.now - start) / .seconds(1))
            let mark = try Event(executor.context.context)
            try executor.context.stream.record(mark)
            marks.append(mark)
        }
        for task in waiting { vectors = try task.wait() }
        try executor.context.stream.synchronize()
        let times = try (warmups..<marks.count).map { try marks[$0].elapsed(since: marks[$0 - 1]) / .seconds(1) }
        guard let seconds = Spread(times) else { throw TransformerError(.invalidSpec, "nothing was measured") }
        return Row(
            shape: shape, precision: executor.precision, samples: times, seconds: seconds,
            work: EmbedWork(spec: executor.spec, length: shape.length, count: shape.count),
            hostSeconds: Spread(Array(host.dropFirst(warmups)))?.median ?? 0, steps: profiles ? try profile(batch) : [],
            vectors: vectors)
    }

    /// The lowest cosine of a text's vector with that of the same text in other rows; nil where these are of other texts.
    package static func lowestCosine(_ row: Row, _ other: Row) -> Double? {
        guard row.shape == other.shape, row.vectors.count == other.vectors.count, row.vectors.count % row.shape.count == 0 else { return nil }
        let width = row.vectors.count / row.shape.count
        return (0..<row.shape.count).map { text in
            let range = text * width..<(text + 1) * width
            return VectorComparison.cosine(row.vectors[range], other.vectors[range])
        }.min()
    }

    private func profile(_ batch: TokenBatch) throws -> [(name: String, seconds: Double, count: Int)] {
        let runs = 3
        let profile = PassProfile(executor.context.context)
        for _ in 0..<runs {
            try executor.profiling(profile) { _ = try executor.encode(batch, head: head) }
        }
        return try profile.times().map { ($0.step.rawValue, $0.time / .seconds(1) / Double(runs), $0.count / runs) }
    }

    /// Operations a second of one large product, 8192 in every direction, in the same seconds: what the GPU gives at its present clock.
    package func matrixRate(runs: Int = 10) throws -> Spread? {
        let size = 8192
        let context = executor.context
        // Numbers as weights have them: equal ones would draw less power, and run at a higher clock.
        let numbers = RandomNumbers(seed: 1, stream: "matrix")
        let row = (0..<size * 61).map { BFloat16(numbers.normal($0)).bitPattern }
        func matrix() throws -> DeviceTensor {
            let tensor = try context.tensor(.bfloat16, [size, size])
            for first in stride(from: 0, to: size, by: 61) {
                let rows = min(61, size - first)
                try context.stream.upload(Array(row[..<(rows * size)]), to: tensor.slice(0, first..<first + rows).region)
            }
            return tensor
        }
        let (a, b, c) = (try matrix(), try matrix(), try context.tensor(.bfloat16, [size, size]))
        var marks = [try Event(context.context)]
        try context.stream.record(marks[0])
        for _ in 0..<runs + 2 {
            _ = try context.gemm(a, b, into: c)
            let mark = try Event(context.context)
            try context.stream.record(mark)
            marks.append(mark)
        }
        try context.synchronize()
        let operations = 2 * Double(size) * Double(size) * Double(size)
        return Spread(try (3..<marks.count).map { operations / (try marks[$0].elapsed(since: marks[$0 - 1]) / .seconds(1)) })
    }

    private func randomIDs(_ count: Int, stream: String) -> [Int32] {
        let numbers = RandomNumbers(seed: 1, stream: stream)
        return (0..<count).map { Int32((abs(numbers.normal($0)) * 1e6).truncatingRemainder(dividingBy: Float(executor.spec.vocabularySize))) }
    }
}
