import CUDA
public import Tensors

extension OperatorContext {
    /// C = (A * B^T) of what 8-bit codes stand for: the sum of code products, times the scales, plus bias, on the fp8 tensor cores.
    ///
    /// a: codes [..., K] E4M3 with one scale or one for each row; b: codes [N, K] E4M3 with one scale or one for each row, which is one for each output
    /// channel. The result is [..., N] in bf16, fp16 or fp32, rounded to it once. bias: [N] fp32.
    ///
    /// Hopper path: fp8 tensor cores; K must be a multiple of 16. They keep about 14 bits of a sum: see ``Float8Accumulation``. Generic path: codes are decoded to fp16 and multiplied there, any K, sums in fp32. Nothing waits for the GPU. Roof: 2 M N K
    /// operations at 1,979 TFLOP/s on an H200.
    /// - Parameter output: Where the result goes, contiguous.
    public func fp8Gemm(
        _ a: Quantized<DeviceTensor>, _ b: Quantized<DeviceTensor>, bias: DeviceTensor? = nil, outputType: DType = .bfloat16,
        accumulation: Float8Accumulation = .automatic, path: KernelPath = .automatic, into output: DeviceTensor? = nil
    ) throws(OperatorError) -> DeviceTensor {
        var problem = try GEMMProblem(fp8Gemm: a, b, bias: bias, outputType: outputType, on: place)
        problem.promotes = accumulation.promotes(k: problem.k)
        try check(path, "fp8Gemm")
        return try launch(
            problem, path,
            GEMMArguments(a: a.codes, b: b.codes, output: output, bias: bias, rowScales: a.scales, columnScales: b.scales))
    }

    /// The same with operands that may still be values: fp16, bf16 or fp32 operands are quantised first, one scale for each row, computed on the GPU or
    /// given; codes must come with their scale.
    ///
    /// - Parameters:
    ///   - aScale: fp32 on the GPU, [1] or one for each row.
    ///   - bScale: The same for b.
    public func fp8Gemm(
        _ a: DeviceTensor, scale aScale: DeviceTensor? = nil, _ b: DeviceTensor, scale bScale: DeviceTensor? = nil,
        bias: DeviceTensor? = nil, outputType: DType = .bfloat16, accumulation: Float8Accumulation = .automatic,
        path: KernelPath = .automatic, into output: DeviceTensor? = nil
    ) throws(OperatorError) -> DeviceTensor {
        let check = ArgumentCheck("fp8Gemm", on: place)
        try check.fp8Operands(a, aScale, b, bScale)
        let left = try quantized(a, aScale)
        let right = try quantized(b, bScale)
        return try fp8Gemm(left, right, bias: bias, outputType: outputType, accumulation: accumulation, path: path, into: output)
    }

    private func quantized(_ operand: DeviceTensor, _ scale: DeviceTensor?) throws(OperatorError) -> Quantized<DeviceTensor> {
        let granularity = ArgumentCheck.granularity(operand, scale)
        if let scale, ArgumentCheck.codes.contains(operand.dtype) {
            return Quantized(codes: operand, scales: scale, granularity: granularity)
        }
        return try quantize(operand, scales: scale, granularity: granularity)
    }
}

extension CPUReference {
    /// ``OperatorContext/fp8Gemm(_:_:bias:outputType:accumulation:path:into:)`` on the CPU: the product of the decoded operands in double precision.
    public static func fp8Gemm(
        _ a: Quantized<HostTensor>, _ b: Quantized<HostTensor>, bias: HostTensor? = nil, outputType: DType = .bfloat16
    ) throws(OperatorError) -> HostTensor {
        let problem = try GEMMProblem(fp8Gemm: a, b, bias: bias, outputType: outputType, on: .host)
        for (name, tensor) in [("the scales of a", a.scales), ("the scales of b", b.scales)] {
            for (index, scale) in try floats("fp8Gemm", tensor).enumerated() { try checkScale("fp8Gemm", "\(name)[\(index)]", scale) }
        }
        return try tensor("fp8Gemm", float8Product(problem, a, b, bias: bias), outputType, problem.shape)
    }

    /// The same with operands that may still be values.
    public static func fp8Gemm(
        _ a: HostTensor, scale aScale: HostTensor? = nil, _ b: HostTensor, scale bScale: HostTensor? = nil, bias: HostTensor? = nil,
        outputType: DType = .bfloat16
    ) throws(OperatorError) -> HostTensor {
        let check = ArgumentCheck("fp8Gemm", on: .host)
        try check.fp8Operands(a, aScale, b, bScale)
        func quantized(_ operand: HostTensor, _ scale: HostTensor?) throws(OperatorError) -> Quantized<HostTensor> {
            let granularity = ArgumentCheck.granularity(operand, scale)
            if let scale, ArgumentCheck.codes.contains(operand.dtype) {
                return Quantized(codes: operand, scales: scale, granularity: granularity)
            }
            return try quantize(operand, scales: scale, granularity: granularity)
        }
        return try fp8Gemm(quantized(a, aScale), quantized(b, bScale), bias: bias, outputType: outputType)
    }

    /// The product before it is rounded.
    static func float8Product(
        _ problem: GEMMProblem, _ a: Quantized<HostTensor>, _ b: Quantized<HostTensor>, bias: HostTensor?
    ) throws(OperatorError) -> [Double] {
        let scales = (a: try doubles("fp8Gemm", a.scales), b: try doubles("fp8Gemm", b.scales))
        let bias = try bias.map { (tensor) throws(OperatorError) in try doubles("fp8Gemm", tensor) }
        var values = multiply(problem, try doubles("fp8Gemm", a.codes), try doubles("fp8Gemm", b.codes))
        for index in values.indices {
            let (row, column) = (index / problem.n, index % problem.n)
            values[index] *= scales.a[a.granularity == .row ? row : 0] * scales.b[b.granularity == .row ? column : 0]
            if let bias { values[index] += bias[column] }
        }
        return values
    }
}

extension ArgumentCheck {
    /// Codes need their scale.
    func fp8Operands(
        _ a: any TensorArgument, _ aScale: (any TensorArgument)?, _ b: any TensorArgument, _ bScale: (any TensorArgument)?
    ) throws(OperatorError) {
        let (left, right) = (Operand("a", a), Operand("b", b))
        try places(left, right, aScale.map { Operand("the scale of a", $0) }, bScale.map { Operand("the scale of b", $0) })
        for operand in [left, right] { try type(operand, Self.floats + [.float8E4M3]) }
        for (operand, scale) in [(left, aScale), (right, bScale)] where scale == nil && Self.codes.contains(operand.tensor.dtype) {
            throw OperatorError(
                .missingScale, in: operation, tensor: operand.name, expected: "a scale beside codes", actual: "none",
                "\(operand.name) holds codes of \(operand.tensor.dtype), which mean nothing without their scale")
        }
    }

    /// One scale is the tensor's; with none given each row gets its own.
    static func granularity(_ operand: any TensorArgument, _ scale: (any TensorArgument)?) -> QuantizationGranularity {
        scale?.shape == [1] ? .tensor : .row
    }
}
