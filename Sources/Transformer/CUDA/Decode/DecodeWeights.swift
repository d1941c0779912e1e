import CUDA
import Operators

/// A model's weights in the order in which the megakernel reads them, beside the row-major ones: a second copy of all matrices on the GPU.
final class DecodeWeights {
    let layers: DeviceBuffer  // [L, blocks, layerChunks, 16 KB]
    let head: DeviceBuffer  // [blocks, headChunks, 16 KB]
    let norms: DeviceBuffer  // [L, layerNormCount] and [normCount] fp32; with E4M3 codes the rows' factors of all layers, and [V] of the head
    let infos: DeviceBuffer  // [L] DecodeLayerInfo
    let inverseFrequencies: DeviceBuffer  // [ropeKinds, D / 2] fp32

    var byteCount: Int { layers.byteCount + head.byteCount + norms.byteCount }

    /// Packs the weights on the GPU, in the context's stream.
    init(_ weights: DeviceWeights, spec: TransformerSpec, plan: DecodePlan, kernels: DecodeKernels, on context: OperatorContext) throws {
        guard let headMatrix = weights.head else {
            throw TransformerError(.noHead, "the model has no vocabulary head (lm_head.weight), so it cannot continue a text")
        }
        let sizes = kernels.sizes
        let layerByteCount = sizes.blocks * sizes.layerChunks * sizes.chunkByteCount
        layers = try DeviceBuffer(byteCount: spec.layers.count * layerByteCount, in: context.context)
        head = try DeviceBuffer(byteCount: sizes.blocks * sizes.headChunks * sizes.chunkByteCount, in: context.context)
        norms = try DeviceBuffer(byteCount: 4 * sizes.floatCount, in: context.context)
        infos = try DeviceBuffer(byteCount: spec.layers.count * MemoryLayout<DecodeLayerInfo>.stride, in: context.context)
        inverseFrequencies = try DeviceBuffer(byteCount: 4 * DecodePlan.ropeKinds * spec.headDimension / 2, in: context.context)

        let stream = context.stream
        // A block of the packing kernels writes a chunk, 16 bytes a thread.
        let threads = Extent(sizes.chunkByteCount / 16)
        let (h, g, d, c) = (spec.queryHeads, spec.keyValueHeads, spec.headDimension, spec.hiddenSize)
        let factorsAt = spec.layers.count * sizes.layerNormCount + sizes.normCount
        let headFactorsAt = plan.format == .float8 ? sizes.floatCount - spec.vocabularySize : factorsAt
        let layerFactors = (headFactorsAt - factorsAt) / spec.layers.count
        for (index, layer) in weights.layers.enumerated() {
            let rows = layer.queryKeyValue.address
            let matrices = PackArguments(
                query: rows, key: rows.advanced(by: 2 * h * d * c), value: rows.advanced(by: 2 * (h + g) * d * c), output: layer.output.address,
                gated: layer.gateUp.tensor.address, down: layer.down.address)
            let factors = norms.region.address.advanced(by: 4 * (factorsAt + index * layerFactors))
            if plan.format == .float8 {
                try kernels.packScales.launch(LaunchConfiguration(grid: Extent(sizes.blocks), block: 256), on: stream, matrices, factors)
            }
            try kernels.packLayer.launch(
                LaunchConfiguration(grid: Extent(sizes.blocks * sizes.layerChunks), block: threads), on: stream, matrices,
                layers.region.address.advanced(by: index * layerByteCount), factors)
            let to = norms.region.address.advanced(by: 4 * index * sizes.layerNormCount)
            let vectors = [layer.attentionNorm, layer.feedForwardNorm] + [layer.attentionOutputNorm, layer.feedForwardOutputNorm].compactMap { $0 }
            for (place, vector) in vectors.enumerated() {
                try Self.pack(vector.address, to: to.advanced(by: 4 * place * sizes.normCount), spec, kernels, isHead: false, on: stream)
            }
            for (place, vector) in [layer.queryNorm, layer.keyNorm].enumerated() {
                let offset = sizes.layerNormCount - (2 - place) * d
                try Self.pack(vector.address, to: to.advanced(by: 4 * offset), spec, kernels, isHead: true, on: stream)
            }
        }
        let final = norms.region.address.advanced(by: 4 * spec.layers.count * sizes.layerNormCount)
        try Self.pack(weights.finalNorm.address, to: final, spec, kernels, isHead: false, on: stream)
        let headFactors = norms.region.address.advanced(by: 4 * headFactorsAt)
        if plan.format == .float8 {
            try kernels.packHeadScales.launch(
                LaunchConfiguration(grid: Extent((spec.vocabularySize + 7) / 8), block: 256), on: stream, headMatrix.address, headFactors)
        }
        try kernels.packHead.launch(
            LaunchConfiguration(grid: Extent(sizes.blocks * sizes.headChunks), block: threads), on: stream, headMatrix.address, head.region.address,
            headFactors)

        let table = spec.layers.map { layer in
            DecodeLayerInfo(window: Int32(layer.window ?? 0), rope: Int32(plan.ropes.firstIndex(of: layer.rope) ?? 0))
        }
        try stream.upload(table, to: infos.region)
        try stream.upload(DecodePlan.frequencies(plan.ropes, headDimension: d), to: inverseFrequencies.region)
        try context.synchronize()
    }

    private static func pack(
        _ vector: DeviceAddress, to target: DeviceAddress, _ spec: TransformerSpec, _ kernels: DecodeKernels, isHead: Bool, on stream: Stream
    ) throws {
        try kernels.packNorm.launch(
            LaunchConfiguration(grid: 1, block: 256), on: stream, vector, target, spec.normWeightOffset, Int32(isHead ? 1 : 0))
    }
}
