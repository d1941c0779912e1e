import Synchronization
public import Tensors

/// A linear layer in fp8: x * W^T + bias, the weights kept as E4M3 codes with a scale for each output, the activations quantised on every call with a
/// scale for each row.
///
/// The codes follow the weights: when the weights' memory was written through this library, or ``DeviceStorage/markWritten()`` was called, the
/// next call quantises them again. Runs on the GPU of its context; ``reference(_:weight:bias:outputType:)`` is the same on the CPU. Error against the
/// unquantised layer: a few percent of an output's typical size; for the exact layer use ``OperatorContext/gemm(_:_:bias:activation:residual:outputType:path:into:)``.
public final class FP8Linear: Sendable {
    /// [outputSize, inputSize], fp16, bf16 or fp32.
    public let weight: DeviceTensor
    /// [outputSize] fp32.
    public let bias: DeviceTensor?
    public let outputType: DType
    private let context: OperatorContext
    private let codes = Mutex<Codes?>(nil)

    private struct Codes {
        let weight: Quantized<DeviceTensor>
        let version: Int
    }

    public var inputSize: Int { weight.shape[1] }
    public var outputSize: Int { weight.shape[0] }

    public init(
        weight: DeviceTensor, bias: DeviceTensor? = nil, outputType: DType = .bfloat16, on context: OperatorContext
    ) throws(OperatorError) {
        let check = ArgumentCheck("fp8Linear", on: context.place)
        let operands = (weight: Operand("weight", weight), bias: bias.map { Operand("bias", $0) })
        try check.places(operands.weight, operands.bias)
        try check.type(operands.weight, ArgumentCheck.floats)
        try check.type(operands.bias, [.float32])
        try check.contiguous(operands.weight, operands.bias)
        try check.rank(operands.weight, 2...2, "[outputs, inputs]")
        try check.shape(operands.bias, [weight.shape[0]], "outputs")
        try check.output(outputType)
        self.weight = weight
        self.bias = bias
        self.outputType = outputType
        self.context = context
    }

    /// Weights of the host; the bias may be of any type that operators take.
    public convenience init(
        weight: HostTensor, bias: HostTensor? = nil, outputType: DType = .bfloat16, on context: OperatorContext
    ) throws(OperatorError) {
        var deviceBias: DeviceTensor?
        if let bias {
            try ModuleWeights.check("fp8Linear", "bias", bias, nil)
            let floats = try CPUReference.floats("fp8Linear", bias)
            deviceBias = try context.upload(
                OperatorError.wrapFile("fp8Linear") { () throws(TensorError) in try HostTensor(floats, shape: bias.shape) })
        }
        try self.init(weight: context.upload(weight), bias: deviceBias, outputType: outputType, on: context)
    }

    /// Takes `PREFIX.weight` and, where there is one, `PREFIX.bias` from a checkpoint.
    public convenience init(
        loading prefix: String, from checkpoint: SafetensorsCheckpoint, outputType: DType = .bfloat16, on context: OperatorContext
    ) throws(OperatorError) {
        let weight = try ModuleWeights.load("fp8Linear", "\(prefix).weight", nil, from: checkpoint)
        let name = "\(prefix).bias"
        var bias: HostTensor?
        if checkpoint[name] != nil { bias = try ModuleWeights.load("fp8Linear", name, nil, from: checkpoint) }
        try self.init(weight: weight, bias: bias, outputType: outputType, on: context)
    }

    /// [..., inputSize] fp16, bf16 or fp32 to [..., outputSize]. Waits for nothing.
    public func callAsFunction(_ x: DeviceTensor) throws(OperatorError) -> DeviceTensor {
        let check = ArgumentCheck("fp8Linear", on: context.place)
        let operand = Operand("x", x)
        try check.places(operand)
        try check.type(operand, ArgumentCheck.floats)
        try check.rows(operand, trailing: 1)
        guard x.shape.last == inputSize else { throw .shape("fp8Linear", "x", expected: "[..., \(inputSize)]", actual: x.shape) }
        let activations = try context.quantize(x, granularity: .row)
        return try context.fp8Gemm(activations, quantizedWeight(), bias: bias, outputType: outputType)
    }

    /// The codes of the weights as they are now.
    public func quantizedWeight() throws(OperatorError) -> Quantized<DeviceTensor> {
        let version = weight.storage.version
        return try codes.withLock { (codes: inout Codes?) throws(OperatorError) -> Quantized<DeviceTensor> in
            if let codes, codes.version == version { return codes.weight }
            let fresh = try context.quantize(weight, granularity: .row)
            codes = Codes(weight: fresh, version: version)
            return fresh
        }
    }

    /// The layer on the CPU: the same quantisation, the product in double precision.
    public static func reference(
        _ x: HostTensor, weight: HostTensor, bias: HostTensor? = nil, outputType: DType = .bfloat16
    ) throws(OperatorError) -> HostTensor {
        let codes = try CPUReference.quantize(weight, granularity: .row)
        return try CPUReference.fp8Gemm(CPUReference.quantize(x, granularity: .row), codes, bias: bias, outputType: outputType)
    }
}
