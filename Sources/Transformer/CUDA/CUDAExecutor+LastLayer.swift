import CUDA
import Operators

/// The rows of a pass that pooling reads: one of each sequence, its last.
struct PickedRows {
    /// Which rows of the pass. [S] int32
    let rows: DeviceTensor
    /// Their positions. [S] int32
    let positions: DeviceTensor
    /// 0 to S: as sequences of one row each. [S + 1] int32
    let offsets: DeviceTensor
}

extension CUDAExecutor {
    /// The last layer of a pass whose last tokens alone are pooled: keys and values of all rows, everything else of the picked rows only.
    ///
    /// `space.h` must hold the rows normed for this layer, or `sums` stand in its place, and the keys and values be in `space` already. Saves all but
    /// them of one layer, 5 % of a pass of 18 layers, and changes no result: no other row of the last layer is read by anything.
    /// - Returns: the residual stream of the picked rows, [S, C].
    func runLastLayer(_ pass: DevicePass, _ picked: PickedRows, _ space: PassSpace, _ sums: RowSums?) throws -> PassSpace {
        let index = weights.layers.count - 1
        let layer = weights.layers[index]
        let (h, g, d) = (spec.queryHeads, spec.keyValueHeads, spec.headDimension)
        let sequences = picked.rows.shape[0]
        let keyValueWeight = try layer.queryKeyValue.slice(0, h * d..<(h + 2 * g) * d)
        let queryWeight = try layer.queryKeyValue.slice(0, 0..<h * d)

        let keysAndValues = try space.queryKeyValue.leading([pass.rowCount, 2 * g * d])
        let keys = try keysAndValues.split(1, into: (2 * g, d)).slice(1, 0..<g)
        let values = try keysAndValues.split(1, into: (2 * g, d)).slice(1, g..<2 * g)
        let own = try PassSpace(spec, rows: sequences, residual: residual, on: context.stream)
        let queries = try own.queryKeyValue.leading([sequences, h * d])
        let queryHeads = try queries.split(1, into: (h, d))
        var ownSums: RowSums?
        if let fused {
            if sums == nil || index == 0 {
                try fused.project(
                    index, sums == nil ? space.h : space.x, keyValueWeight, queryHeads: 0, keyHeads: g, positions: pass.positions, sums: sums,
                    into: keysAndValues)
            }
            if sums == nil {
                try rowKernels.take(picked.rows, of: space, norm: layer.attentionNorm, to: own)
            } else {
                let taken = try fused.sums(rows: sequences)
                try rowKernels.take(picked.rows, of: space, to: own, sums: taken.values)
                ownSums = taken
            }
            try fused.project(
                index, ownSums == nil ? own.h : own.x, queryWeight, queryHeads: h, keyHeads: 0, positions: picked.positions, sums: ownSums,
                into: queries)
            try mark(.queryKeyValue)
        } else {
            let rope = try ropes.table(for: spec.layers[index].rope, positions: pass.positionCount)
            func rotate(_ heads: DeviceTensor, queryHeads: Int, positions: DeviceTensor) throws {
                try context.normAndRotate(
                    heads, queryHeads: queryHeads, queryWeight: layer.queryNorm, keyWeight: layer.keyNorm, cosine: rope.cosine, sine: rope.sine,
                    positions: positions, epsilon: spec.normEpsilon, unitOffset: spec.normWeightOffset == 1)
            }
            _ = try context.gemm(space.h, keyValueWeight, path: path, into: keysAndValues)
            try mark(.queryKeyValue)
            try rotate(keys, queryHeads: 0, positions: pass.positions)
            try mark(.queryKeyNorm)
            try rowKernels.take(picked.rows, of: space, norm: layer.attentionNorm, to: own)
            _ = try context.gemm(own.h, queryWeight, path: path, into: queries)
            try rotate(queryHeads, queryHeads: h, positions: picked.positions)
        }
        _ = try context.attention(
            queryHeads, keys, values, lengths: SequenceLengths(queries: [Int](repeating: 1, count: sequences), keys: pass.lengths.keys),
            mask: spec.mask(layer: index), scale: spec.attentionScale, path: path, isInvariant: true, into: own.attended.split(1, into: (h, d)))
        try mark(spec.layers[index].window == nil ? .attention : .windowedAttention)
        if let ownSums { try finish(index, own, ownSums, next: nil) } else { try finish(index, own, next: nil) }
        return own
    }
}

extension DeviceTensor {
    /// The memory of a contiguous tensor from its start on, in another shape that needs no more of it.
    func leading(_ shape: [Int]) throws -> DeviceTensor {
        try reshaped([elementCount]).slice(0, 0..<shape.reduce(1, *)).reshaped(shape)
    }
}
