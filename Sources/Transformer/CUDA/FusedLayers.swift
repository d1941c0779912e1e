import CUDA
import Operators
import Tensors

/// How much of a layer's norms goes into the epilogues of its products, on Hopper.
package enum PrefillFusion: String, Sendable, CaseIterable {
    /// Norms are kernels of their own.
    case none
    /// The norms and the rotation of queries and keys belong to their projection.
    case heads
    /// The pre-norms too, whose weights are folded into the matrices, and what is added to the residual stream; one kernel computes all that lies
    /// between two attentions (docs/prefill.md).
    case full

    /// What a model that embeds texts gets where nothing else is asked for: fusion is for shapes of the kind that has been held against the CPU on a GPU.
    /// In bf16 these are all that the kernel of whole layers computes; with 8-bit codes heads of 128 or 256 that fill whole tiles of their projection.
    /// Others take a kernel for each operation.
    package static func preferred(for spec: TransformerSpec, precision: MatrixPrecision) -> Self {
        guard LayerVariant.supports(spec) else { return .none }
        guard precision != .bfloat16 else { return .full }
        let heads = (spec.queryHeads + 2 * spec.keyValueHeads) * spec.headDimension
        return spec.headDimension >= 128 && heads % 256 == 0 ? .heads : .none
    }
}

/// The products of layers whose epilogues do the norms.
final class FusedLayers: Sendable {
    private let kernels: LayerGEMMKernels
    private let layerKernels: LayerKernels
    private let context: OperatorContext
    private let spec: TransformerSpec
    private let headWeights: [DeviceTensor]  // a layer: [2, D] fp32
    private let frequencies: [TransformerSpec.RopeSpec: DeviceTensor]  // [D / 2] fp32
    private let outputNorms: [DeviceTensor?]  // a layer: [C] fp32, the factors
    private let feedForwardNorms: [DeviceTensor?]
    /// Whether a layer is one kernel.
    let isFull: Bool
    /// Parts of a row's sum of squares.
    let parts: Int

    init(_ weights: TransformerWeights, spec: TransformerSpec, fusion: PrefillFusion, on context: OperatorContext) throws {
        kernels = try LayerGEMMKernels(context)
        layerKernels = LayerKernels(context)
        self.context = context
        self.spec = spec
        isFull = fusion == .full
        parts = LayerVariant.parts(columns: spec.hiddenSize)
        func factors(_ matrix: WeightMatrix?) -> [Float] { matrix?.floats.map { $0 + spec.normWeightOffset } ?? [] }
        func upload(_ values: [Float], _ shape: [Int]) throws -> DeviceTensor {
            let tensor = try context.tensor(.float32, shape)
            try context.stream.upload(values, to: tensor.region)
            return tensor
        }
        headWeights = try weights.layers.map { try upload(factors($0.queryNorm) + factors($0.keyNorm), [2, spec.headDimension]) }
        outputNorms = try weights.layers.map { try $0.attentionOutputNorm.map { try upload(factors($0), [spec.hiddenSize]) } }
        feedForwardNorms = try weights.layers.map { try $0.feedForwardOutputNorm.map { try upload(factors($0), [spec.hiddenSize]) } }
        var frequencies: [TransformerSpec.RopeSpec: DeviceTensor] = [:]
        for layer in spec.layers where frequencies[layer.rope] == nil {
            frequencies[layer.rope] = try upload(
                RopeTables.inverseFrequencies(layer.rope, headDimension: spec.headDimension), [spec.headDimension / 2])
        }
        self.frequencies = frequencies
        // Kernels read all of this before the work ahead of them has ended.
        try context.synchronize()
    }

    /// Heads of a layer out of rows of `a`, queries and keys normed and rotated. `weight` holds rows for so many query and key heads, and as many
    /// of values as of keys where `hasValues`.
    func project(
        _ index: Int, _ a: DeviceTensor, _ weight: DeviceTensor, queryHeads: Int, keyHeads: Int, positions: DeviceTensor, sums: RowSums?,
        into heads: DeviceTensor
    ) throws {
        guard let frequencies = frequencies[spec.layers[index].rope] else { return }
        try kernels.multiply(
            a, rowSums: sums?.values, weight, into: heads, queryHeads: queryHeads, keyHeads: keyHeads, headSize: spec.headDimension,
            LayerHeadArguments(weights: headWeights[index], frequencies: frequencies, positions: positions, epsilon: spec.normEpsilon))
    }

    /// Sums and counters for a pass over so many rows.
    func sums(rows: Int) throws -> RowSums { try RowSums(rows: rows, parts: parts, layers: spec.layers.count, on: context) }

    /// What follows attention in a layer, and the heads of the layer behind where they are asked for: `weight` holds rows for so many query and key
    /// heads, and as many of values as of keys.
    func finish(
        _ index: Int, _ layer: DeviceWeights.Layer, _ space: PassSpace, _ sums: RowSums,
        next: (weight: DeviceTensor, queryHeads: Int, keyHeads: Int, positions: DeviceTensor, heads: DeviceTensor)?
    ) throws {
        let projection = next.map {
            LayerVariant.Projection(queryHeads: $0.queryHeads, keyHeads: $0.keyHeads, heads: $0.queryHeads + 2 * $0.keyHeads)
        }
        guard let variant = LayerVariant(spec, projection: projection), let rest = space.rest else {
            throw TransformerError(.unsupportedModel, "the kernel of whole layers does not compute this model")
        }
        var arguments = LayerArguments(
            attended: space.attended, x: space.x, rest: rest, gated: space.gated, outputWeight: layer.output, gateUpWeight: layer.gateUp.tensor,
            downWeight: layer.down, outputNorm: outputNorms[index], downNorm: feedForwardNorms[index], sums: sums)
        if let next, let frequency = frequencies[spec.layers[index + 1].rope] {
            arguments.projection = (next.heads, next.weight, headWeights[index + 1], frequency, next.positions)
        }
        try layerKernels.run(variant, arguments, epsilon: spec.normEpsilon)
    }
}
