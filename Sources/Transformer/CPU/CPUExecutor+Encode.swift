import CCPUKernels
import Foundation

extension CPUExecutor {
    public func encode(_ batch: TokenBatch, head: EncoderHead) throws -> [Float] {
        try head.validate(hiddenSize: spec.hiddenSize)
        try validate(batch)
        guard batch.tokenCount > 0 else { return [] }
        return try pool.withPool { pool in
            let x = FloatBuffer(count: batch.tokenCount * spec.hiddenSize)
            encodeHidden(batch, x: x, pool) { _ in }
            return try poolVectors(batch, x: x, head: head, pool)
        }
    }

    /// Hands out the residual stream `[T, C]` behind each layer, for comparing executors.
    package func hiddenStates(_ batch: TokenBatch, eachLayer body: (_ layer: Int, _ hidden: [Float]) throws -> Void) throws {
        try validate(batch)
        try pool.withPool { pool in
            let x = FloatBuffer(count: batch.tokenCount * spec.hiddenSize)
            try encodeHidden(batch, x: x, pool) { layer in
                try body(layer, Array(UnsafeBufferPointer(start: x.pointer, count: x.count)))
            }
        }
    }

    /// Hands out what every layer computes on its way, all rows of the batch at once, for comparing executors.
    package func phases(_ batch: TokenBatch, each body: (_ layer: Int, _ phase: LayerPhase, _ rows: [Float]) throws -> Void) throws {
        try validate(batch)
        try pool.withPool { pool in
            let x = FloatBuffer(count: batch.tokenCount * spec.hiddenSize)
            var collected: [LayerPhase: [Float]] = [:]
            try encodeHidden(batch, x: x, pool, observe: { collected[$0, default: []] += $1 }) { layer in
                for phase in LayerPhase.allCases {
                    if let rows = collected.removeValue(forKey: phase) { try body(layer, phase, rows) }
                }
            }
        }
    }

    /// Hidden states `[T, C]` behind the last layer, before the final norm.
    func encodeHidden(
        _ batch: TokenBatch, x: FloatBuffer, _ pool: OpaquePointer, observe: PhaseObserver? = nil, eachLayer: (Int) throws -> Void
    ) rethrows {
        var positions: [Int32] = []
        positions.reserveCapacity(batch.tokenCount)
        for sequence in 0..<batch.sequenceCount { positions += (0..<batch.length(of: sequence)).map(Int32.init) }
        let pass = LayerPass(rowOffsets: batch.offsets, keyOffsets: batch.offsets, positions: positions)
        let blocks = pass.blocks(of: Self.blockRows, wholeSequences: spec.isBidirectional)
        let scratch = BlockScratch(spec, rows: blocks.map(\.count).max() ?? 0, keepsBranches: roundsBetweenOperations)
        let keyRow = spec.keyValueHeads * spec.headDimension
        let keys = FloatBuffer(count: batch.tokenCount * keyRow)
        let values = FloatBuffer(count: batch.tokenCount * keyRow)
        let cache = KeyValueRows(keys: keys.pointer, values: values.pointer, firstRow: 0)
        embed(batch.ids, into: x.pointer, pool)
        // The buffers must outlive the calls that only know their pointers.
        try withExtendedLifetime((keys, values)) {
            for index in spec.layers.indices {
                runLayer(index, pass, blocks: blocks, x: x.pointer, cache: cache, scratch: scratch, pool, observe: observe)
                try eachLayer(index)
            }
        }
    }

    private func poolVectors(_ batch: TokenBatch, x: FloatBuffer, head: EncoderHead, _ pool: OpaquePointer) throws -> [Float] {
        let c = spec.hiddenSize
        let sequences = batch.sequenceCount
        var pooled = [Float](repeating: 0, count: sequences * c)
        let normed = FloatBuffer(count: c)
        for sequence in 0..<sequences {
            let rows: Range<Int>
            switch head.pooling {
            case .lastToken: rows = batch.offsets[sequence + 1] - 1..<batch.offsets[sequence + 1]
            case .firstToken: rows = batch.offsets[sequence]..<batch.offsets[sequence] + 1
            case .mean: rows = batch.offsets[sequence]..<batch.offsets[sequence + 1]
            }
            for row in rows {
                norm(x.pointer + row * c, by: weights.finalNorm, into: normed.pointer, rows: 1, pool)
                for column in 0..<c { pooled[sequence * c + column] += normed.pointer[column] }
            }
            let factor = 1 / Float(rows.count)
            for column in 0..<c { pooled[sequence * c + column] *= factor }
        }

        return try head.finish(pooled, width: c, pool)
    }
}

extension EncoderHead {
    /// What follows the pooling, on the CPU: dense layers, the cut, the length. `pooled [S, width]`.
    func finish(_ pooled: [Float], width: Int, _ pool: OpaquePointer) throws -> [Float] {
        let sequences = pooled.count / width
        var (pooled, width) = (pooled, width)
        for layer in dense {
            var output = [Float](repeating: 0, count: sequences * layer.weight.rows)
            pooled.withUnsafeBufferPointer { input in
                output.withUnsafeMutableBufferPointer { output in
                    apus_linear(
                        pool, sequences, layer.weight.rows, layer.weight.columns, input.baseAddress!, layer.weight.columns, layer.weight.base,
                        layer.weight.type, output.baseAddress!, layer.weight.rows, false)
                    layer.finish(output, sequences: sequences)
                }
            }
            pooled = output
            width = layer.weight.rows
        }

        let kept = dimensions ?? width
        var vectors = [Float](repeating: 0, count: sequences * kept)
        for sequence in 0..<sequences {
            vectors.withUnsafeMutableBufferPointer { vectors in
                let vector = vectors.baseAddress! + sequence * kept
                for column in 0..<kept { vector[column] = pooled[sequence * width + column] }
                if normalizes { apus_l2_normalize(kept, vector) }
            }
        }
        try vectors.requireFinite(width: kept)
        return vectors
    }
}

extension EncoderHead.Dense {
    /// Adds the bias and applies the activation to `[sequences, out]` in place.
    fileprivate func finish(_ output: UnsafeMutableBufferPointer<Float>, sequences: Int) {
        if let bias {
            let values = FloatBuffer(count: bias.columns)
            apus_to_float(bias.columns, bias.base, bias.type, values.pointer)
            for index in output.indices { output[index] += values.pointer[index % bias.columns] }
        }
        if activation == .tanh {
            for index in output.indices { output[index] = Foundation.tanh(output[index]) }
        }
    }
}
