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
    /// `space.h` must hold the rows normed for this layer. Saves all but the keys and values of one layer, 5 % of a pass of 18 layers, and changes no
    /// result: no other row of the last layer is read by anything.
    /// - Returns: the residual stream of the picked rows, [S, C].
    func runLastLayer(_ pass: DevicePass, _ picked: PickedRows, _ space: PassSpace) throws -> PassSpace {
        let index = weights.layers.count - 1
        let layer = weights.layers[index]
        let (h, g, d) = (spec.queryHeads, spec.keyValueHeads, spec.headDimension)
        let sequences = picked.rows.shape[0]
        let rope = try ropes.table(for: spec.layers[index].rope, positions: pass.positionCount)
        func rotate(_ heads: DeviceTensor, queryHeads: Int, positions: DeviceTensor) throws {
            try context.normAndRotate(
                heads, queryHeads: queryHeads, queryWeight: layer.queryNorm, keyWeight: layer.keyNorm, cosine: rope.cosine, sine: rope.sine,
                positions: positions, epsilon: spec.normEpsilon, unitOffset: spec.normWeightOffset == 1)
        }

        let keysAndValues = try space.queryKeyValue.leading([pass.rowCount, 2 * g * d])
        _ = try context.gemm(
            space.h, layer.queryKeyValue.slice(0, h * d..<(h + 2 * g) * d), path: path, into: keysAndValues)
        let keys = try keysAndValues.split(1, into: (2 * g, d)).slice(1, 0..<g)
        let values = try keysAndValues.split(1, into: (2 * g, d)).slice(1, g..<2 * g)
        try mark(.queryKeyValue)
        try rotate(keys, queryHeads: 0, positions: pass.positions)
        try mark(.queryKeyNorm)

        let own = try PassSpace(spec, rows: sequences, residualType: Self.residualType, on: context.stream)
        try rowKernels.take(picked.rows, of: space.x, norm: layer.attentionNorm, x: own.x, h: own.h)
        let queries = try own.queryKeyValue.leading([sequences, h * d])
        _ = try context.gemm(own.h, layer.queryKeyValue.slice(0, 0..<h * d), path: path, into: queries)
        let queryHeads = try queries.split(1, into: (h, d))
        try rotate(queryHeads, queryHeads: h, positions: picked.positions)
        _ = try context.attention(
            queryHeads, keys, values, lengths: SequenceLengths(queries: [Int](repeating: 1, count: sequences), keys: pass.lengths.keys),
            mask: spec.mask(layer: index), scale: spec.attentionScale, path: path, isInvariant: true, into: own.attended.split(1, into: (h, d)))
        try mark(spec.layers[index].window == nil ? .attention : .windowedAttention)
        try finish(index, own, next: nil)
        return own
    }
}

extension DeviceTensor {
    /// The memory of a contiguous tensor from its start on, in another shape that needs no more of it.
    func leading(_ shape: [Int]) throws -> DeviceTensor {
        try reshaped([elementCount]).slice(0, 0..<shape.reduce(1, *)).reshaped(shape)
    }
}
