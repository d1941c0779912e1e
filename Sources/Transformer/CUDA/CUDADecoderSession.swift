import CUDA
import Operators
import Tensors

/// A sequence on the GPU: prefill by the executor's pass over rows, which fills the cache and continues behind what is there.
final class CUDADecoderSession: DecoderSession, @unchecked Sendable {
    let executor: CUDAExecutor
    let cache: DeviceKeyValueCache

    /// Rows whose logits are computed together when all are asked for; bounds the memory at this many vocabularies.
    private static let logitRows = 64
    /// Rows of a long prompt that pass through the layers together.
    static let blockRows = 8192

    init(_ executor: CUDAExecutor) {
        self.executor = executor
        cache = DeviceKeyValueCache(spec: executor.spec, format: executor.cacheFormat, on: executor.context)
    }

    private var spec: TransformerSpec { executor.spec }
    private var context: OperatorContext { executor.context }

    var position: Int { cache.position }
    var cacheByteCount: Int { cache.byteCount }

    func rewind(to position: Int) { cache.move(to: min(position, cache.position)) }

    func extend(_ ids: [Int32]) throws -> [Float] {
        guard !ids.isEmpty else { throw TransformerError(.invalidToken, "there is no token to compute") }
        if ids.count <= Self.residentTokens, let engine = try executor.decodeEngine() { return try steps(ids, engine) }
        var last: [Float] = []
        try run(ids) { _, rows, h in
            guard rows.upperBound == ids.count else { return }
            last = try self.logits(h.slice(0, rows.count - 1..<rows.count))
        }
        return last
    }

    func extend(_ ids: [Int32], eachLogits body: (_ position: Int, _ logits: [Float]) throws -> Void) throws {
        if let engine = try executor.decodeEngine() {
            // One by one through the resident kernel: this is how it is verified.
            for id in ids { try body(position, try steps([id], engine)) }
            return
        }
        let vocabulary = spec.vocabularySize
        try run(ids) { start, rows, h in
            for first in stride(from: 0, to: rows.count, by: Self.logitRows) {
                let chunk = try self.logits(h.slice(0, first..<min(first + Self.logitRows, rows.count)))
                for row in 0..<chunk.count / vocabulary {
                    try body(start + rows.lowerBound + first + row, Array(chunk[row * vocabulary..<(row + 1) * vocabulary]))
                }
            }
        }
    }

    /// As many tokens as the resident kernel computes one after the other sooner than a pass over rows.
    private static let residentTokens = 4

    /// Computes the tokens by the resident kernel, one after the other; the logits behind the last.
    private func steps(_ ids: [Int32], _ engine: DecodeEngine) throws -> [Float] {
        try check(ids)
        let start = position
        do {
            try cache.reserve(start + ids.count)
            return try engine.logits(of: ids, cache: cache)
        } catch {
            cache.move(to: start)
            throw error
        }
    }

    func check(_ ids: [Int32]) throws {
        guard executor.weights.head != nil else {
            throw TransformerError(.noHead, "the model has no vocabulary head (lm_head.weight), so it cannot continue a text")
        }
        guard !spec.isBidirectional else {
            throw TransformerError(.noHead, "the model is a bidirectional encoder, so it cannot continue a text")
        }
        try executor.validate(ids, startingAt: position)
    }

    /// Runs the tokens through all layers block by block and hands each block's normed rows [rows, C] bf16 to `body`.
    private func run(_ ids: [Int32], _ body: (_ start: Int, _ rows: Range<Int>, _ h: DeviceTensor) throws -> Void) throws {
        try check(ids)
        let start = position
        do {
            try cache.reserve(start + ids.count)
            for first in stride(from: 0, to: ids.count, by: Self.blockRows) {
                let rows = first..<min(first + Self.blockRows, ids.count)
                try executor.withSpace(rows: rows.count) { space in
                    let pass = try block(Array(ids[rows]))
                    try executor.run(pass, space, finalNorm: true)
                    cache.move(to: cache.position + rows.count)
                    try body(start, rows, space.h)
                }
            }
        } catch {
            cache.move(to: start)
            throw error
        }
    }

    private func block(_ ids: [Int32]) throws -> DevicePass {
        let end = cache.position + ids.count
        func upload(_ values: [Int32]) throws -> DeviceTensor {
            let tensor = try context.tensor(.int32, [values.count])
            try context.stream.upload(values, to: tensor.region)
            return tensor
        }
        return DevicePass(
            ids: try upload(ids), positions: try upload((cache.position..<end).map(Int32.init)), positionCount: end,
            lengths: SequenceLengths(queries: [ids.count], keys: [end]), cache: cache)
    }

    /// Logits `[rows, V]` of normed rows `[rows, C]`; waits for them.
    private func logits(_ h: DeviceTensor) throws -> [Float] {
        guard let head = executor.weights.head else { return [] }
        let logits = try context.gemm(h, head, outputType: .float32, path: executor.path)
        return try context.stream.download(Float.self, from: logits.region)
    }
}
