import CUDA
import Operators
import Tensors

/// How much of a layer's norms goes into the epilogues of its products, on Hopper.
package enum PrefillFusion: String, Sendable, CaseIterable {
    /// Norms are kernels of their own.
    case none
    /// The norms and the rotation of queries and keys belong to their projection.
    case heads
    /// The pre-norms too, whose weights are folded into the matrices, and what is added to the residual stream, which is bf16: faster, and less
    /// exact than the other two (docs/prefill.md).
    case full
}

/// The products of layers whose epilogues do the norms.
final class FusedLayers: Sendable {
    private let kernels: LayerGEMMKernels
    private let context: OperatorContext
    private let spec: TransformerSpec
    private let headWeights: [DeviceTensor]  // a layer: [2, D] fp32
    private let frequencies: [TransformerSpec.RopeSpec: DeviceTensor]  // [D / 2] fp32
    private let outputNorms: [DeviceTensor?]  // a layer: [C] fp32, the factors
    private let feedForwardNorms: [DeviceTensor?]
    /// Whether the residual stream goes through the products.
    let isFull: Bool
    /// Parts of a row's sum of squares.
    let parts: Int

    init(_ weights: TransformerWeights, spec: TransformerSpec, fusion: PrefillFusion, on context: OperatorContext) throws {
        kernels = try LayerGEMMKernels(context)
        self.context = context
        self.spec = spec
        isFull = fusion == .full
        parts = LayerGEMMVariant.parts(spec.branchEpilogue, columns: spec.hiddenSize)
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
        var arguments = LayerGEMMArguments()
        arguments.rowSums = sums?.values
        arguments.headWeights = headWeights[index]
        arguments.frequencies = frequencies[spec.layers[index].rope]
        arguments.positions = positions
        try kernels.multiply(
            a, weight, into: heads, epilogue: .heads(size: spec.headDimension, query: queryHeads, key: keyHeads), epsilon: spec.normEpsilon,
            arguments)
    }

    /// What follows attention in a layer, the residual stream in `space.x` and its sums of squares with it.
    func finish(_ index: Int, _ layer: DeviceWeights.Layer, _ space: PassSpace, _ sums: RowSums, mark: (PassStep) throws -> Void) throws {
        try addBranch(space.attended, layer.output, norm: outputNorms[index], space, sums)
        try mark(.output)
        var arguments = LayerGEMMArguments()
        arguments.rowSums = sums.values
        try kernels.multiply(
            space.x, layer.gateUp.tensor.reshaped([2 * spec.intermediateSize, spec.hiddenSize]), into: space.gated,
            epilogue: .gated(spec.activation.gate), epsilon: spec.normEpsilon, arguments)
        try mark(.gateUp)
        try addBranch(space.gated, layer.down, norm: feedForwardNorms[index], space, sums)
        try mark(.down)
    }

    private func addBranch(_ a: DeviceTensor, _ weight: DeviceTensor, norm: DeviceTensor?, _ space: PassSpace, _ sums: RowSums) throws {
        var arguments = LayerGEMMArguments()
        arguments.residual = space.x
        arguments.postNorm = norm
        arguments.statistics = sums.values
        if norm != nil { arguments.packets = sums.nextPackets() }
        try kernels.multiply(a, weight, into: space.x, epilogue: spec.branchEpilogue, epsilon: spec.normEpsilon, arguments)
    }
}

/// The sums of squares of the residual stream's rows while they pass through the layers, and what the tiles of a row exchange them through.
final class RowSums {
    let values: DeviceTensor  // [T, parts] fp32
    private var packets: (DeviceTensor, DeviceTensor)  // [T, parts] uint32

    init(rows: Int, parts: Int, on context: OperatorContext) throws {
        values = try context.tensor(.float32, [rows, parts])
        packets = (try context.tensor(.uint32, [rows, parts]), try context.tensor(.uint32, [rows, parts]))
        for tensor in [packets.0, packets.1] { try context.stream.fill(tensor.region, with: 0xff) }
    }

    /// The two buffers take turns.
    func nextPackets() -> (own: DeviceTensor, former: DeviceTensor) {
        packets = (packets.1, packets.0)
        return packets
    }
}

extension TransformerSpec {
    /// How a branch joins the residual stream.
    fileprivate var branchEpilogue: LayerEpilogue { normPlacement == .sandwich ? .postNorm : .residual }
}
