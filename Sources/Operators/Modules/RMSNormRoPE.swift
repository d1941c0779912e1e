public import Tensors

/// RMSNorm and rotary embedding as a layer that owns its weight: ``OperatorContext/rmsNormRoPE(_:weight:cosine:sine:positions:scope:headCount:epsilon:unitOffset:path:into:)``.
///
/// Made with a context it runs on tensors of that GPU, and in any case on tensors of the host.
public struct RMSNormRoPE: Sendable {
    /// [hiddenSize], or [headSize] per head.
    public let weight: HostTensor
    public let hiddenSize: Int
    public let headSize: Int
    public let scope: NormScope
    public let epsilon: Float
    public let unitOffset: Bool
    private let context: OperatorContext?
    private let deviceWeight: DeviceTensor?

    public var headCount: Int { hiddenSize / headSize }

    /// - Parameters:
    ///   - weight: Ones (zeros where the weights are 1 + w) of fp32 when nil.
    ///   - context: The GPU that it runs on; only the CPU when nil.
    public init(
        hiddenSize: Int, headSize: Int, weight: HostTensor? = nil, scope: NormScope = .row, epsilon: Float = 1e-6,
        unitOffset: Bool = false, on context: OperatorContext? = nil
    ) throws(OperatorError) {
        let operation = "rmsNormRoPE"
        try ModuleWeights.positive(operation, ("the hidden size", hiddenSize), ("the head size", headSize))
        guard headSize % 2 == 0 else {
            throw .argument(operation, "the head size", expected: "a positive even number", actual: "\(headSize)")
        }
        guard hiddenSize % headSize == 0 else {
            throw .argument(operation, "the head size", expected: "a divisor of the hidden size \(hiddenSize)", actual: "\(headSize)")
        }
        try ArgumentCheck(operation, on: .host).positive("epsilon", epsilon)
        let size = scope == .row ? hiddenSize : headSize
        let own: HostTensor
        if let weight {
            try ModuleWeights.check(operation, "weight", weight, [size])
            own = weight
        } else {
            own = try OperatorError.wrapFile(operation) { () throws(TensorError) in
                try HostTensor([Float](repeating: unitOffset ? 0 : 1, count: size), shape: [size])
            }
        }
        self.weight = own
        self.hiddenSize = hiddenSize
        self.headSize = headSize
        self.scope = scope
        self.epsilon = epsilon
        self.unitOffset = unitOffset
        self.context = context
        deviceWeight = try ModuleWeights.upload(own, to: context)
    }

    /// Takes the weight from a checkpoint, such as "model.layers.0.self_attn.q_norm.weight".
    public init(
        loading name: String, from checkpoint: SafetensorsCheckpoint, hiddenSize: Int, headSize: Int, scope: NormScope = .row,
        epsilon: Float = 1e-6, unitOffset: Bool = false, on context: OperatorContext? = nil
    ) throws(OperatorError) {
        let shape = [scope == .row ? hiddenSize : headSize]
        let weight = try ModuleWeights.load("rmsNormRoPE", name, shape, from: checkpoint)
        try self.init(
            hiddenSize: hiddenSize, headSize: headSize, weight: weight, scope: scope, epsilon: epsilon, unitOffset: unitOffset, on: context)
    }

    /// On the GPU.
    public func callAsFunction(
        _ x: DeviceTensor, cosine: DeviceTensor, sine: DeviceTensor, positions: [Int32]? = nil
    ) throws(OperatorError) -> DeviceTensor {
        let context = try ModuleWeights.require(context, "rmsNormRoPE")
        guard let deviceWeight else { throw .unavailable("rmsNormRoPE", "the layer has no weight on a GPU") }
        return try context.rmsNormRoPE(
            x, weight: deviceWeight, cosine: cosine, sine: sine, positions: positions, scope: scope,
            headCount: headCount, epsilon: epsilon, unitOffset: unitOffset)
    }

    /// On the CPU.
    public func callAsFunction(
        _ x: HostTensor, cosine: HostTensor, sine: HostTensor, positions: [Int32]? = nil
    ) throws(OperatorError) -> HostTensor {
        try CPUReference.rmsNormRoPE(
            x, weight: weight, cosine: cosine, sine: sine, positions: positions, scope: scope, headCount: headCount, epsilon: epsilon,
            unitOffset: unitOffset)
    }
}
