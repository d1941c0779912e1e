import CUDA
import Dispatch
import Operators
import Synchronization
import Tensors

/// What the large products of an encoder's layers multiply on a GPU.
public enum MatrixPrecision: String, Sendable, Hashable, CaseIterable {
    /// bf16, as the checkpoint has it.
    case bfloat16 = "bf16"
    /// E4M3 codes with fp32 sums in most layers: faster and less exact; for compute capability 9.0. See docs/prefill.md for both.
    case float8 = "fp8"
}

/// The layers whose products of queries, keys and values, of gate and up, and of down multiply E4M3 codes.
///
/// Weights of down have a scale for each output channel, those of queries, keys and values one together, and so those of gate and up: codes of a
/// floating-point format lose nothing by a scale that is too large, and epilogues have less to read. Rows of activations have a scale each. The output product and attention
/// stay bf16. So do the first quarter of the layers and the last one: an error early on goes through all that follows and makes most of the whole.
package final class Float8Layers: Sendable {
    private struct Layer: Sendable {
        let queryKeyValue: Quantized<DeviceTensor>  // [(H + 2 G) D, C]
        let gateUp: Quantized<DeviceTensor>  // [2 I, C]
        let down: Quantized<DeviceTensor>  // [C, I]
        /// Times a row's sum of squares: no gated value of the row is above 448 of it.
        let gatedBound: Float
        let headWeights: DeviceTensor  // [2, D] fp32
        let frequencies: DeviceTensor  // [D / 2] fp32
    }

    private let kernels: LayerGEMMKernels
    private let context: OperatorContext
    private let spec: TransformerSpec
    private let layers: [Int: Layer]

    /// Which layers of a model.
    package static func range(layerCount: Int) -> Range<Int> {
        let first = (layerCount + 3) / 4
        return first..<max(first, layerCount - 1)
    }

    init(_ weights: TransformerWeights, _ device: DeviceWeights, spec: TransformerSpec, on context: OperatorContext) throws {
        kernels = try LayerGEMMKernels(context)
        self.context = context
        self.spec = spec
        let range = Self.range(layerCount: weights.layers.count)
        let bounds = Mutex([Int: Float]())
        DispatchQueue.concurrentPerform(iterations: range.count) { index in
            let layer = weights.layers[range.lowerBound + index]
            let bound = GateBound.scale(gate: layer.gate, up: layer.up)
            bounds.withLock { $0[range.lowerBound + index] = bound }
        }
        let gatedBounds = bounds.withLock { $0 }
        func factors(_ matrix: WeightMatrix?) -> [Float] { matrix?.floats.map { $0 + spec.normWeightOffset } ?? [] }
        func upload(_ values: [Float], _ shape: [Int]) throws -> DeviceTensor {
            let tensor = try context.tensor(.float32, shape)
            try context.stream.upload(values, to: tensor.region)
            return tensor
        }
        let staging = WeightStaging(stream: context.stream)
        var layers: [Int: Layer] = [:]
        for index in range {
            let source = weights.layers[index]
            let packed = try context.tensor(.bfloat16, [2 * spec.intermediateSize, spec.hiddenSize])
            try staging.upload(BrainFloatRows(gateForCodes: source.gate, up: source.up), to: packed.region)
            layers[index] = Layer(
                queryKeyValue: try context.quantize(device.layers[index].queryKeyValue, granularity: .tensor),
                gateUp: try context.quantize(packed, granularity: .tensor),
                down: try context.quantize(device.layers[index].down, granularity: .row), gatedBound: gatedBounds[index] ?? 1,
                headWeights: try upload(factors(source.queryNorm) + factors(source.keyNorm), [2, spec.headDimension]),
                frequencies: try upload(
                    RopeTables.inverseFrequencies(spec.layers[index].rope, headDimension: spec.headDimension), [spec.headDimension / 2]))
        }
        self.layers = layers
        try context.synchronize()
    }

    /// Why a model's products cannot be of codes; nil where they can.
    package static func obstacle(_ spec: TransformerSpec, isHopper: Bool) -> String? {
        guard isHopper else { return "products of 8-bit codes need a GPU of compute capability 9.0 and its kernels" }
        guard spec.hiddenSize % 16 == 0, spec.intermediateSize % 32 == 0 else {
            return "products of 8-bit codes need a hidden size of whole 16 and an intermediate size of whole 32, not "
                + "\(spec.hiddenSize) and \(spec.intermediateSize)"
        }
        guard spec.activation != .geluErf else { return "gelu by the error function is not among the gates of 8-bit codes" }
        return nil
    }

    func contains(_ index: Int) -> Bool { layers[index] != nil }

    /// Queries, keys and values of a layer, normed and rotated, from the normed rows.
    func project(_ index: Int, _ rows: Float8Rows, positions: DeviceTensor, into queryKeyValue: DeviceTensor) throws {
        guard let layer = layers[index] else { return }
        try kernels.multiply(
            rows.codes, scales: rows.scales, layer.queryKeyValue, into: queryKeyValue,
            epilogue: .heads(size: spec.headDimension, query: spec.queryHeads, key: spec.keyValueHeads),
            heads: LayerHeadArguments(
                weights: layer.headWeights, frequencies: layer.frequencies, positions: positions, epsilon: spec.normEpsilon))
    }

    func gateUp(_ index: Int, _ rows: Float8Rows) throws {
        guard let layer = layers[index] else { return }
        try kernels.multiply(
            rows.codes, scales: rows.scales, layer.gateUp, into: rows.gated, epilogue: .gated(spec.activation.gate), outputScales: rows.gatedScales)
    }

    func down(_ index: Int, _ rows: Float8Rows, into branch: DeviceTensor) throws {
        guard let layer = layers[index] else { return }
        try kernels.multiply(rows.gated, scales: rows.gatedScales, layer.down, into: branch, epilogue: .plain)
    }

    /// What the row kernel ahead of a layer's gate and up writes scales with.
    func gatedBound(_ index: Int) -> Float { layers[index]?.gatedBound ?? 1 }
}

/// The codes of a pass, in the memory of the rows that they stand for.
struct Float8Rows {
    let codes: DeviceTensor  // [T, C] E4M3, normed rows
    let scales: DeviceTensor  // [T] fp32
    let gated: DeviceTensor  // [T, I] E4M3
    let gatedScales: DeviceTensor  // [T] fp32

    init(_ space: PassSpace, on context: OperatorContext) throws {
        func view(_ tensor: DeviceTensor) throws -> DeviceTensor {
            try DeviceTensor(
                borrowing: tensor.region.slice(at: 0, byteCount: tensor.elementCount), dtype: .float8E4M3, shape: tensor.shape, on: context.context)
        }
        codes = try view(space.h)
        gated = try view(space.gated)
        scales = try context.tensor(.float32, [codes.shape[0]])
        gatedScales = try context.tensor(.float32, [codes.shape[0]])
    }
}

/// How large a gated value can be: |act(g . h) (u . h)| is at most |g| |u| |h|^2, since no activation is above its argument.
package enum GateBound {
    /// The largest |g| |u| of a row pair, over the largest code: times a row's sum of squares it is a scale under which nothing overflows.
    ///
    /// It is some hundred times what values typically have, which costs nothing: E4M3 holds 14 binades at full precision.
    package static func scale(gate: WeightMatrix, up: WeightMatrix) -> Float {
        let (gates, ups) = (rowSquares(gate), rowSquares(up))
        let largest = zip(gates, ups).map { $0 * $1 }.max() ?? 0
        return max(largest.squareRoot() / Float8Format.e4m3.maximum, .leastNormalMagnitude)
    }

    private static func rowSquares(_ matrix: WeightMatrix) -> [Float] {
        let values = matrix.floats
        return values.withUnsafeBufferPointer { values in
            (0..<matrix.rows).map { row in
                var sum: Float = 0
                for value in values[row * matrix.columns..<(row + 1) * matrix.columns] { sum += value * value }
                return sum
            }
        }
    }
}
