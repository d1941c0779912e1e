public import Tensors

/// The gated half of an MLP as a layer that owns its weights: ``OperatorContext/gatedMLP(_:weights:activation:path:into:)``.
///
/// Made with a context it runs on tensors of that GPU, where it keeps the weights packed, and in any case on tensors of the host.
public struct GatedMLP: Sendable {
    /// [intermediateSize, hiddenSize] each.
    public let gate: HostTensor
    public let up: HostTensor
    public let activation: Activation
    private let context: OperatorContext?
    private let packed: PackedGatedWeights?

    public var hiddenSize: Int { gate.shape[1] }
    public var intermediateSize: Int { gate.shape[0] }

    /// - Parameter context: The GPU that it runs on; only the CPU when nil.
    public init(
        gate: HostTensor, up: HostTensor, activation: Activation = .silu, on context: OperatorContext? = nil
    ) throws(OperatorError) {
        try PackedGatedWeights.check(gate, up, on: .host)
        self.gate = gate
        self.up = up
        self.activation = activation
        self.context = context
        packed = if let context { try PackedGatedWeights(gate: gate, up: up, on: context) } else { nil }
    }

    /// Random weights of standard deviation 0.02, the same for the same seed.
    public init(
        hiddenSize: Int, intermediateSize: Int, activation: Activation = .silu, seed: UInt64 = 0, dtype: DType = .bfloat16,
        on context: OperatorContext? = nil
    ) throws(OperatorError) {
        try ModuleWeights.positive("gatedMLP", ("the hidden size", hiddenSize), ("the intermediate size", intermediateSize))
        var random = SeededRandom(seed)
        let gate = try random.tensor([intermediateSize, hiddenSize], dtype, scale: 0.02)
        let up = try random.tensor([intermediateSize, hiddenSize], dtype, scale: 0.02)
        try self.init(gate: gate, up: up, activation: activation, on: context)
    }

    /// Takes the weights from a checkpoint: `PREFIX.gate_proj.weight` and `PREFIX.up_proj.weight`, such as with the prefix "model.layers.0.mlp".
    public init(
        loading prefix: String, from checkpoint: SafetensorsCheckpoint, activation: Activation, on context: OperatorContext? = nil
    ) throws(OperatorError) {
        let gate = try ModuleWeights.load("gatedMLP", "\(prefix).gate_proj.weight", nil, from: checkpoint)
        let up = try ModuleWeights.load("gatedMLP", "\(prefix).up_proj.weight", gate.shape, from: checkpoint)
        try self.init(gate: gate, up: up, activation: activation, on: context)
    }

    /// On the GPU: [..., hiddenSize] to [..., intermediateSize].
    public func callAsFunction(_ x: DeviceTensor) throws(OperatorError) -> DeviceTensor {
        let context = try ModuleWeights.require(context, "gatedMLP")
        guard let packed else { throw .unavailable("gatedMLP", "the layer has no weights on a GPU") }
        return try context.gatedMLP(x, weights: packed, activation: activation)
    }

    /// On the CPU.
    public func callAsFunction(_ x: HostTensor) throws(OperatorError) -> HostTensor {
        try CPUReference.gatedMLP(x, gate: gate, up: up, activation: activation)
    }
}
