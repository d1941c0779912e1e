import CUDA
public import Tensors

extension OperatorContext {
    /// C = A * B^T, with an epilogue: v = a * b^T + bias; v = activation(v); v += residual; rounded to the result's type.
    ///
    /// a: [..., K], rows evenly spaced; b: [N, K], the form of a linear layer's weights; both bf16, both fp16 or both fp32. The result is [..., N] in
    /// the operands' type, or for 16-bit operands in any of bf16, fp16 and fp32. bias: [N] fp32; residual: as the result. Sums in fp32. K = 0 gives
    /// zeros, without bias and residual only.
    ///
    /// Hopper path (bf16, fp16): wgmma fed by the copy engine; rows of the operands must be multiples of 16 bytes, and rows of the result
    /// too if there is a residual. Generic path (bf16, fp16): mma.sync, any sizes. fp32 has one kernel, which multiplies in fp32 and never in TF32; it is
    /// there to be right, not to be fast. Roof: 2 M N K operations at the tensor cores' rate, 989 TFLOP/s on an H200.
    /// - Parameter output: Where the result goes, contiguous; must not overlap the operands.
    public func gemm(
        _ a: DeviceTensor, _ b: DeviceTensor, bias: DeviceTensor? = nil, activation: Activation? = nil, residual: DeviceTensor? = nil,
        outputType: DType? = nil, path: KernelPath = .automatic, into output: DeviceTensor? = nil
    ) throws(OperatorError) -> DeviceTensor {
        let problem = try GEMMProblem(
            gemm: a, b, bias: bias, activation: activation, residual: residual, outputType: outputType, on: place)
        try check(path, "gemm")
        return try launch(problem, path, GEMMArguments(a: a, b: b, output: output, bias: bias, residual: residual))
    }

    /// The gated half of an MLP: act(x * gate^T) * (x * up^T). The activation is on the gate, as in Llama, Qwen and Gemma; there is no down projection.
    ///
    /// x: [..., H], rows evenly spaced; gate and up: [I, H]; all bf16, all fp16 or all fp32. The result is [..., I] in their type. Sums and
    /// activation in fp32, one rounding.
    ///
    /// Hopper path (bf16, fp16): one product whose epilogue does the rest; rows must be multiples of 16 bytes. It takes gate and up where they are if up lies
    /// behind gate and I is a multiple of 8, and otherwise copies them first. The generic path and fp32 copy them every time, a copy for every eight
    /// rows: give ``PackedGatedWeights`` to ``gatedMLP(_:weights:activation:path:into:)`` for more than a try. There the result's rows lie apart where I is not a
    /// multiple of 8. Source: Shazeer, arXiv 2002.05202. Roof: 4 M I H operations at the tensor cores' rate.
    /// - Parameter output: Where the result goes, contiguous; must not overlap the operands.
    public func gatedMLP(
        _ x: DeviceTensor, gate: DeviceTensor, up: DeviceTensor, activation: Activation = .silu, path: KernelPath = .automatic,
        into output: DeviceTensor? = nil
    ) throws(OperatorError) -> DeviceTensor {
        let problem = try GEMMProblem(gatedMLP: x, gate: gate, up: up, activation: activation, on: place)
        try check(path, "gatedMLP")
        return try launch(problem, path, GEMMArguments(a: x, b: gate, up: up, output: output))
    }
}

/// The tensors of one product.
struct GEMMArguments {
    var a: DeviceTensor
    var b: DeviceTensor
    /// Gated products: the second half of the weights.
    var up: DeviceTensor?
    /// Gated products: b holds both halves, packed.
    var isPacked = false
    /// What the caller gave for the result.
    var output: DeviceTensor?
    var bias: DeviceTensor?
    var residual: DeviceTensor?
    /// fp8: fp32, [1] or [M], and [1] or [N].
    var rowScales: DeviceTensor?
    var columnScales: DeviceTensor?
}

extension OperatorContext {
    /// Picks the kernel, makes the result and puts the launch into the stream.
    func launch(_ problem: GEMMProblem, _ path: KernelPath, _ arguments: GEMMArguments) throws(OperatorError) -> DeviceTensor {
        guard !problem.isEmpty, problem.k > 0 else { return try zeros(problem, arguments) }
        let obstacle = hopperObstacle(problem, arguments)
        switch path {
        case .hopper:
            if let obstacle { throw .unavailable(problem.operation, "the Hopper path does not take these arguments: \(obstacle)") }
            return try launchHopper(problem, arguments)
        case .automatic where obstacle == nil: return try launchHopper(problem, arguments)
        case .automatic, .generic: return try launchGeneric(problem, arguments)
        }
    }

    /// Nothing to multiply: an empty result, or zeros. Every activation is 0 at 0.
    private func zeros(_ problem: GEMMProblem, _ arguments: GEMMArguments) throws(OperatorError) -> DeviceTensor {
        guard problem.isEmpty || (!problem.hasBias && !problem.hasResidual) else {
            throw .argument(problem.operation, "the inner size", expected: "1 and more with bias or residual", actual: "0")
        }
        let result = try output(problem.operation, arguments.output, problem.outputType, problem.shape)
        try OperatorError.wrap(problem.operation) { () throws(CUDAError) in try stream.fill(result.region) }
        return result
    }
}
