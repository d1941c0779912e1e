import CCPUKernels
import Tensors

/// Rows of the residual stream that pass through the layers together, and where their sequences' keys and values lie.
package struct LayerPass {
    /// Sequence s owns rows `rowOffsets[s]..<rowOffsets[s + 1]` of x.
    package let rowOffsets: [Int]
    /// Its keys are rows `keyOffsets[s]..<keyOffsets[s + 1]` of the key buffer; its queries are the last of them.
    package let keyOffsets: [Int]
    /// Position of every row in its sequence. [T]
    package let positions: [Int32]

    package init(rowOffsets: [Int], keyOffsets: [Int], positions: [Int32]) {
        self.rowOffsets = rowOffsets
        self.keyOffsets = keyOffsets
        self.positions = positions
    }

    var rowCount: Int { rowOffsets[rowOffsets.count - 1] }

    func keyCount(_ sequence: Int) -> Int { keyOffsets[sequence + 1] - keyOffsets[sequence] }
    func rows(_ sequence: Int) -> Range<Int> { rowOffsets[sequence]..<rowOffsets[sequence + 1] }

    /// Cuts the rows into blocks of at most `limit`. A bidirectional query needs all keys behind it too, so there a block holds whole sequences.
    package func blocks(of limit: Int, wholeSequences: Bool) -> [Range<Int>] {
        guard wholeSequences else {
            return stride(from: 0, to: rowCount, by: limit).map { $0..<min($0 + limit, rowCount) }
        }
        var blocks: [Range<Int>] = []
        var start = 0
        for sequence in 0..<rowOffsets.count - 1 where rowOffsets[sequence + 1] - start > limit {
            if rowOffsets[sequence] > start { blocks.append(start..<rowOffsets[sequence]) }
            start = rowOffsets[sequence]
        }
        if start < rowCount { blocks.append(start..<rowCount) }
        return blocks
    }
}

/// One layer's keys and values: rows `[G, D]` fp32.
struct KeyValueRows {
    let keys: UnsafeMutablePointer<Float>
    let values: UnsafeMutablePointer<Float>
    /// Row of the first row of x.
    let firstRow: Int
    /// Whether rows are rounded to what an fp8 cache would hold before they are read.
    var isCoded = false
}

/// Gets rows of a phase as soon as they are computed.
typealias PhaseObserver = (_ phase: LayerPhase, _ rows: UnsafeBufferPointer<Float>) -> Void

/// Scratch for one block of rows.
final class BlockScratch {
    let normed: FloatBuffer  // [B, C]
    let queries: FloatBuffer  // [B, H, D]
    let attended: FloatBuffer  // [B, H, D]
    let gated: FloatBuffer  // [B, I]
    let branch: FloatBuffer  // [B, C]
    let rows: Int

    /// - Parameter keepsBranches: branches are more than added to the residual stream, whatever the model's norms.
    init(_ spec: TransformerSpec, rows: Int, keepsBranches: Bool) {
        self.rows = rows
        let c = spec.hiddenSize
        let q = spec.queryHeads * spec.headDimension
        normed = FloatBuffer(count: rows * c)
        queries = FloatBuffer(count: rows * q)
        attended = FloatBuffer(count: rows * q)
        gated = FloatBuffer(count: rows * spec.intermediateSize)
        branch = FloatBuffer(count: keepsBranches || spec.normPlacement == .sandwich ? rows * c : 0)
    }
}

extension CPUExecutor {
    /// Embedding rows of `ids` into x `[T, C]`.
    func embed(_ ids: [Int32], into x: UnsafeMutablePointer<Float>, _ pool: OpaquePointer) {
        let table = weights.embedding
        apus_gather_rows(pool, ids.count, spec.hiddenSize, table.base, table.type, ids, embeddingScale, x)
    }

    /// Passes x `[T, C]` through layer `index` in place, after writing its keys and values.
    ///
    /// All keys of the pass are written before the first query reads them; everything else goes block by block.
    ///
    /// - Parameter observe: gets each block's part of every phase, in the order of the rows.
    func runLayer(
        _ index: Int, _ pass: LayerPass, blocks: [Range<Int>], x: UnsafeMutablePointer<Float>, cache: KeyValueRows, scratch: BlockScratch,
        _ pool: OpaquePointer, observe: PhaseObserver? = nil
    ) {
        let layer = weights.layers[index]
        let layerSpec = spec.layers[index]
        let c = spec.hiddenSize
        let (h, g, d) = (spec.queryHeads, spec.keyValueHeads, spec.headDimension)
        let lastPosition = pass.positions.max().map { Int($0) } ?? 0
        let rope = ropes.table(for: layerSpec.rope, positions: lastPosition + 1)

        func rotate(_ heads: UnsafeMutablePointer<Float>, rows: Range<Int>, headCount: Int, norm: WeightMatrix?) {
            pass.positions.withUnsafeBufferPointer { positions in
                apus_norm_rope(
                    pool, rows.count, headCount, d, heads, headCount * d, norm?.base, norm?.type ?? APUS_F32, spec.normWeightOffset,
                    spec.normEpsilon, rope.cosine.pointer, rope.sine.pointer, positions.baseAddress! + rows.lowerBound)
            }
        }

        for rows in blocks {
            norm(x + rows.lowerBound * c, by: layer.attentionNorm, into: scratch.normed.pointer, rows: rows.count, pool)
            let keys = cache.keys + (cache.firstRow + rows.lowerBound) * g * d
            let values = cache.values + (cache.firstRow + rows.lowerBound) * g * d
            linear(scratch.normed.pointer, layer.key, into: keys, rows: rows.count, pool)
            linear(scratch.normed.pointer, layer.value, into: values, rows: rows.count, pool)
            round(keys, rows.count * g * d)
            round(values, rows.count * g * d)
            rotate(keys, rows: rows, headCount: g, norm: layer.keyNorm)
            round(keys, rows.count * g * d)
            if cache.isCoded {
                apus_cache_round(pool, rows.count * g, d, keys)
                apus_cache_round(pool, rows.count * g, d, values)
            }
            observe?(.keys, UnsafeBufferPointer(start: keys, count: rows.count * g * d))
            observe?(.values, UnsafeBufferPointer(start: values, count: rows.count * g * d))
        }
        for rows in blocks {
            let residual = x + rows.lowerBound * c
            // With one block the normed rows are still there from the keys.
            if blocks.count > 1 { norm(residual, by: layer.attentionNorm, into: scratch.normed.pointer, rows: rows.count, pool) }
            linear(scratch.normed.pointer, layer.query, into: scratch.queries.pointer, rows: rows.count, pool)
            round(scratch.queries.pointer, rows.count * h * d)
            rotate(scratch.queries.pointer, rows: rows, headCount: h, norm: layer.queryNorm)
            round(scratch.queries.pointer, rows.count * h * d)
            observe?(.queries, UnsafeBufferPointer(start: scratch.queries.pointer, count: rows.count * h * d))
            attend(rows, pass, window: layerSpec.window, cache: cache, scratch: scratch, pool)
            round(scratch.attended.pointer, rows.count * h * d)
            observe?(.attended, UnsafeBufferPointer(start: scratch.attended.pointer, count: rows.count * h * d))
            addBranch(scratch.attended.pointer, layer.output, norm: layer.attentionOutputNorm, to: residual, rows: rows.count, scratch, pool)
            observe?(.middle, UnsafeBufferPointer(start: residual, count: rows.count * c))

            norm(residual, by: layer.feedForwardNorm, into: scratch.normed.pointer, rows: rows.count, pool)
            apus_gated_linear(
                pool, rows.count, spec.intermediateSize, c, scratch.normed.pointer, c, layer.gate.base, layer.up.base, layer.gate.type,
                spec.activation.kernelValue, scratch.gated.pointer, spec.intermediateSize)
            round(scratch.gated.pointer, rows.count * spec.intermediateSize)
            observe?(.gated, UnsafeBufferPointer(start: scratch.gated.pointer, count: rows.count * spec.intermediateSize))
            addBranch(scratch.gated.pointer, layer.down, norm: layer.feedForwardOutputNorm, to: residual, rows: rows.count, scratch, pool)
            observe?(.hidden, UnsafeBufferPointer(start: residual, count: rows.count * c))
        }
    }

    /// Attention of a block's queries over their sequences' keys; a causal block reads no key behind its last query.
    private func attend(
        _ rows: Range<Int>, _ pass: LayerPass, window: Int?, cache: KeyValueRows, scratch: BlockScratch, _ pool: OpaquePointer
    ) {
        let (h, g, d) = (spec.queryHeads, spec.keyValueHeads, spec.headDimension)
        var queryOffsets: [Int] = []
        var keyRanges: [Range<Int>] = []
        for sequence in 0..<pass.rowOffsets.count - 1 {
            let own = pass.rows(sequence).clamped(to: rows)
            guard !own.isEmpty else { continue }
            let unread = spec.isBidirectional ? 0 : pass.rows(sequence).upperBound - own.upperBound
            queryOffsets.append(own.lowerBound - rows.lowerBound)
            keyRanges.append(pass.keyOffsets[sequence]..<pass.keyOffsets[sequence + 1] - unread)
        }
        queryOffsets.append(rows.count)

        // Key ranges of neighbouring sequences touch unless a causal block ends inside the last one, so offsets describe them all.
        var keyOffsets = keyRanges.map(\.lowerBound)
        keyOffsets.append(keyRanges[keyRanges.count - 1].upperBound)
        queryOffsets.withUnsafeBufferPointer { queryOffsets in
            keyOffsets.withUnsafeBufferPointer { keyOffsets in
                var problem = apus_attention_problem(
                    q: scratch.queries.pointer, query_stride: h * d, k: cache.keys, v: cache.values, key_stride: g * d,
                    key_head_stride: d, out: scratch.attended.pointer, out_stride: h * d, sequences: keyRanges.count,
                    query_offsets: queryOffsets.baseAddress, key_offsets: keyOffsets.baseAddress, query_heads: h, key_value_heads: g,
                    head_dimension: d, window: window ?? 0, bidirectional: spec.isBidirectional, scale: spec.attentionScale)
                apus_attention(pool, &problem)
            }
        }
    }

    /// residual += norm(input · W^T), or without the norm where the family has none there.
    private func addBranch(
        _ input: UnsafeMutablePointer<Float>, _ weight: WeightMatrix, norm outputNorm: WeightMatrix?, to residual: UnsafeMutablePointer<Float>,
        rows: Int, _ scratch: BlockScratch, _ pool: OpaquePointer
    ) {
        guard outputNorm != nil || roundsBetweenOperations else {
            linear(input, weight, into: residual, rows: rows, accumulate: true, pool)
            return
        }
        linear(input, weight, into: scratch.branch.pointer, rows: rows, pool)
        round(scratch.branch.pointer, rows * weight.rows)
        guard let outputNorm else {
            for index in 0..<rows * weight.rows { residual[index] += scratch.branch.pointer[index] }
            return
        }
        apus_rms_norm_add(
            pool, rows, weight.rows, scratch.branch.pointer, weight.rows, outputNorm.base, outputNorm.type, spec.normWeightOffset,
            spec.normEpsilon, residual, weight.rows)
    }

    func linear(
        _ input: UnsafePointer<Float>, _ weight: WeightMatrix, into output: UnsafeMutablePointer<Float>, rows: Int, accumulate: Bool = false,
        _ pool: OpaquePointer
    ) {
        apus_linear(
            pool, rows, weight.rows, weight.columns, input, weight.columns, weight.base, weight.type, output, weight.rows, accumulate)
    }

    func norm(
        _ input: UnsafePointer<Float>, by weight: WeightMatrix, into output: UnsafeMutablePointer<Float>, rows: Int, _ pool: OpaquePointer
    ) {
        let c = weight.columns
        apus_rms_norm(pool, rows, c, input, c, weight.base, weight.type, spec.normWeightOffset, spec.normEpsilon, output, c)
        round(output, rows * c)
    }

    /// To bf16, where ``roundsBetweenOperations`` asks for it.
    private func round(_ values: UnsafeMutablePointer<Float>, _ count: Int) {
        guard roundsBetweenOperations else { return }
        for index in 0..<count { values[index] = Float(BFloat16(values[index])) }
    }
}

extension TransformerSpec.Activation {
    var kernelValue: apus_activation {
        switch self {
        case .silu: APUS_SILU
        case .geluTanh: APUS_GELU_TANH
        case .geluErf: APUS_GELU_ERF
        }
    }
}
