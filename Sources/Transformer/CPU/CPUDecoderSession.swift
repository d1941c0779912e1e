import CCPUKernels

/// A sequence on the CPU: keys and values `[positions, G, D]` fp32 for every layer, grown as the sequence does.
final class CPUDecoderSession: DecoderSession, @unchecked Sendable {
    private let executor: CPUExecutor
    private var keys: [FloatBuffer] = []
    private var values: [FloatBuffer] = []
    private var capacity = 0
    private var scratch: BlockScratch?
    private(set) var position = 0

    /// Rows whose logits are computed together when all are asked for; bounds the memory at this many vocabularies.
    private static let logitRows = 16

    init(_ executor: CPUExecutor) { self.executor = executor }

    private var spec: TransformerSpec { executor.spec }

    var cacheByteCount: Int {
        2 * spec.layers.count * capacity * spec.keyValueHeads * spec.headDimension * MemoryLayout<Float>.stride
    }

    /// The keys, then the values of a layer, `[position, G, D]`.
    func cachedRows(layer: Int) -> [Float] {
        let count = position * spec.keyValueHeads * spec.headDimension
        return [keys[layer], values[layer]].flatMap { UnsafeBufferPointer(start: $0.pointer, count: count) }
    }

    /// Takes keys and values that another device has computed, as ``cachedRows(layer:)`` gives them, in place of what was there.
    func take(_ rows: [[Float]]) {
        let row = spec.keyValueHeads * spec.headDimension
        let positions = (rows.first?.count ?? 0) / (2 * row)
        position = 0
        reserve(positions)
        for (index, floats) in rows.enumerated() {
            floats.withUnsafeBufferPointer { floats in
                guard let base = floats.baseAddress else { return }
                keys[index].pointer.update(from: base, count: positions * row)
                values[index].pointer.update(from: base + positions * row, count: positions * row)
            }
        }
        position = positions
    }

    func rewind(to position: Int) { self.position = max(0, min(position, self.position)) }

    func extend(_ ids: [Int32]) throws -> [Float] {
        guard !ids.isEmpty else { throw TransformerError(.invalidToken, "there is no token to compute") }
        var last: [Float] = []
        try run(ids) { _, rows, x, pool in
            guard rows.upperBound == ids.count else { return }
            last = try self.logits(of: x + (rows.count - 1) * self.spec.hiddenSize, rows: 1, pool)
        }
        return last
    }

    func extend(_ ids: [Int32], eachLogits body: (_ position: Int, _ logits: [Float]) throws -> Void) throws {
        let vocabulary = spec.vocabularySize
        try run(ids) { start, rows, x, pool in
            for first in stride(from: 0, to: rows.count, by: Self.logitRows) {
                let count = min(Self.logitRows, rows.count - first)
                let chunk = try self.logits(of: x + first * self.spec.hiddenSize, rows: count, pool)
                for row in 0..<count {
                    try body(start + rows.lowerBound + first + row, Array(chunk[row * vocabulary..<(row + 1) * vocabulary]))
                }
            }
        }
    }

    /// Runs the tokens through all layers block by block and hands each block's hidden states `[rows, C]` to `body`.
    private func run(
        _ ids: [Int32], _ body: (_ start: Int, _ rows: Range<Int>, _ x: UnsafeMutablePointer<Float>, _ pool: OpaquePointer) throws -> Void
    ) throws {
        guard executor.weights.head != nil else {
            throw TransformerError(.noHead, "the model has no vocabulary head (lm_head.weight), so it cannot continue a text")
        }
        guard !spec.isBidirectional else {
            throw TransformerError(.noHead, "the model is a bidirectional encoder, so it cannot continue a text")
        }
        try executor.validate(ids, startingAt: position)
        let start = position
        reserve(start + ids.count)
        do {
            try executor.pool.withPool { pool in
                for first in stride(from: 0, to: ids.count, by: CPUExecutor.blockRows) {
                    let rows = first..<min(first + CPUExecutor.blockRows, ids.count)
                    let x = FloatBuffer(count: rows.count * spec.hiddenSize)
                    runBlock(Array(ids[rows]), x: x, pool)
                    try body(start, rows, x.pointer, pool)
                }
            }
        } catch {
            position = start
            throw error
        }
    }

    private func runBlock(_ ids: [Int32], x: FloatBuffer, _ pool: OpaquePointer) {
        let scratch =
            self.scratch.flatMap { $0.rows >= ids.count ? $0 : nil }
            ?? BlockScratch(spec, rows: ids.count, keepsBranches: executor.roundsBetweenOperations)
        // Decoding reuses its one-row scratch; a prefill's large one is let go.
        self.scratch = ids.count == 1 ? scratch : nil
        let pass = LayerPass(
            rowOffsets: [0, ids.count], keyOffsets: [0, position + ids.count],
            positions: (position..<position + ids.count).map(Int32.init))
        executor.embed(ids, into: x.pointer, pool)
        for index in spec.layers.indices {
            let cache = KeyValueRows(
                keys: keys[index].pointer, values: values[index].pointer, firstRow: position, isCoded: executor.cacheFormat == .float8)
            executor.runLayer(index, pass, blocks: [0..<ids.count], x: x.pointer, cache: cache, scratch: scratch, pool)
        }
        position += ids.count
    }

    /// Logits `[rows, V]` of hidden states `[rows, C]`.
    private func logits(of x: UnsafePointer<Float>, rows: Int, _ pool: OpaquePointer) throws -> [Float] {
        guard let head = executor.weights.head else { return [] }
        let normed = FloatBuffer(count: rows * spec.hiddenSize)
        executor.norm(x, by: executor.weights.finalNorm, into: normed.pointer, rows: rows, pool)
        return [Float](unsafeUninitializedCapacity: rows * spec.vocabularySize) { buffer, count in
            executor.linear(normed.pointer, head, into: buffer.baseAddress!, rows: rows, pool)
            count = rows * spec.vocabularySize
        }
    }

    /// Makes room for `positions` positions, keeping what is there.
    private func reserve(_ positions: Int) {
        guard positions > capacity else { return }
        let grown = min(max(positions, capacity + capacity / 2, 256), max(spec.maximumPositions, positions))
        let row = spec.keyValueHeads * spec.headDimension
        func regrow(_ old: FloatBuffer?) -> FloatBuffer {
            let new = FloatBuffer(count: grown * row)
            if let old { new.pointer.update(from: old.pointer, count: position * row) }
            return new
        }
        for index in spec.layers.indices {
            if index < keys.count {
                keys[index] = regrow(keys[index])
                values[index] = regrow(values[index])
            } else {
                keys.append(regrow(nil))
                values.append(regrow(nil))
            }
        }
        capacity = grown
    }
}
