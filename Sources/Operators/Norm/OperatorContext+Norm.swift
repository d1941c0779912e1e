import CUDA
import Tensors

extension OperatorContext {
    /// RMSNorm over the last dimension: y = x * rsqrt(mean(x^2) + epsilon) * w, or * (1 + w).
    ///
    /// x: [..., H] fp16, bf16 or fp32, any leading dimensions, rows evenly spaced; weight: [H], any of these types. The result has x's type and
    /// shape. Computed in fp32. For the norm of each head give x as [..., heads, D] and weight as [D].
    ///
    /// Source: Zhang and Sennrich, arXiv 1910.07467; 1 + w is Gemma's form. Roof: the bytes of x twice, at the speed of a copy.
    /// - Parameters:
    ///   - unitOffset: The weights are 1 + w.
    ///   - path: Both paths are one kernel here.
    ///   - output: Where the result goes, contiguous or laid out as x; may be x itself. New memory when nil.
    public func rmsNorm(
        _ x: DeviceTensor, weight: DeviceTensor, epsilon: Float = 1e-6, unitOffset: Bool = false, path: KernelPath = .automatic,
        into output: DeviceTensor? = nil
    ) throws(OperatorError) -> DeviceTensor {
        let problem = try NormProblem(rmsNorm: x, weight: weight, epsilon: epsilon, unitOffset: unitOffset, on: place)
        try check(path, "rmsNorm")
        let result = try self.output("rmsNorm", output, x.dtype, x.shape, like: x)
        try launch(problem, "rmsNorm", NormArguments(x: x, output: result, weight: weight))
        return result
    }

    /// Adds the residual and normalises the sum: s = x + residual, rounded; y = RMSNorm(s). Both come back.
    ///
    /// Shapes and types as ``rmsNorm(_:weight:epsilon:unitOffset:path:into:)``; residual as x, contiguous. One pass in place of two.
    public func rmsNormAdding(
        _ x: DeviceTensor, residual: DeviceTensor, weight: DeviceTensor, epsilon: Float = 1e-6, unitOffset: Bool = false,
        path: KernelPath = .automatic
    ) throws(OperatorError) -> (normalized: DeviceTensor, sum: DeviceTensor) {
        let problem = try NormProblem(
            rmsNorm: x, weight: weight, residual: residual, epsilon: epsilon, unitOffset: unitOffset, on: place)
        try check(path, "rmsNorm")
        let result = try tensor(x.dtype, x.shape)
        let sum = try tensor(x.dtype, x.shape)
        try launch(problem, "rmsNorm", NormArguments(x: x, output: result, weight: weight, residual: residual, sum: sum))
        return (result, sum)
    }

    /// RMSNorm, then rotary embedding by half rotation.
    ///
    /// y = RMSNorm(x) * w; then in every head of D elements, for i < D/2 and the token's position p:
    /// out[i] = y[i] cos[p, i] - y[i + D/2] sin[p, i]; out[i + D/2] = y[i + D/2] cos[p, i] + y[i] sin[p, i].
    /// Element i turns with i + D/2, as in Llama, Qwen and Gemma checkpoints; the interleaved form, i with i + 1, is not offered. Only the first
    /// D/2 columns of the tables are read.
    ///
    /// Scope ``NormScope/row``: x [..., tokens, H], weight [H], one norm over all heads together. Scope ``NormScope/head``: x [..., tokens, heads, D],
    /// weight [D], each head by itself. cosine and sine: [tokens, D] or [1, tokens, 1, D]; D is even and divides H. Token t of each
    /// sequence has the position t; `positions` gives others, one for each token of all sequences, below the tables' length. x, weight and
    /// tables: fp16, bf16 or fp32 each; the result has x's type and shape. Computed in fp32.
    ///
    /// Source: RoFormer, arXiv 2104.09864, in the form of the Hugging Face models. Roof: the bytes of x twice, of the tables once.
    /// - Parameters:
    ///   - headCount: Checked against H / D where it is given.
    ///   - path: Both paths are one kernel here.
    ///   - output: Where the result goes, contiguous or laid out as x; may be x itself. New memory when nil.
    public func rmsNormRoPE(
        _ x: DeviceTensor, weight: DeviceTensor, cosine: DeviceTensor, sine: DeviceTensor, positions: [Int32]? = nil,
        scope: NormScope = .row, headCount: Int? = nil, epsilon: Float = 1e-6, unitOffset: Bool = false, path: KernelPath = .automatic,
        into output: DeviceTensor? = nil
    ) throws(OperatorError) -> DeviceTensor {
        let problem = try NormProblem(
            rmsNormRoPE: x, weight: weight, cosine: cosine, sine: sine, positionCount: positions?.count, scope: scope,
            headCount: headCount, epsilon: epsilon, unitOffset: unitOffset, on: place)
        if let positions, let rotation = problem.rotation { try NormProblem.check(positions, rotation.positions) }
        try check(path, "rmsNormRoPE")
        let result = try self.output("rmsNormRoPE", output, x.dtype, x.shape, like: x)
        guard problem.rowCount > 0 else { return result }
        var uploaded: DeviceTensor?
        if let positions {
            let table = try tensor(.int32, [positions.count])
            try OperatorError.wrap("rmsNormRoPE") { () throws(CUDAError) in try stream.upload(positions, to: table.region) }
            uploaded = table
        }
        defer { extendLifetime(uploaded) }
        try launch(
            problem, "rmsNormRoPE",
            NormArguments(x: x, output: result, weight: weight, cosine: cosine, sine: sine, positions: uploaded))
        return result
    }
}

/// The tensors of one launch.
struct NormArguments {
    var x: DeviceTensor
    var output: DeviceTensor
    var weight: DeviceTensor
    var cosine: DeviceTensor?
    var sine: DeviceTensor?
    /// [tokens] int32.
    var positions: DeviceTensor?
    var residual: DeviceTensor?
    var sum: DeviceTensor?
}

extension OperatorContext {
    func launch(
        _ problem: NormProblem, _ operation: String, _ arguments: NormArguments, addition: NormVariant.Addition? = nil
    ) throws(OperatorError) {
        guard problem.rowCount > 0, problem.row > 0 else { return }
        let outputStride = arguments.output.isContiguous ? problem.heads * problem.row : problem.stride
        let size = problem.dtype.byteCount
        let addresses = [arguments.x, arguments.output, arguments.weight, arguments.cosine, arguments.sine, arguments.residual, arguments.sum]
        var variant = NormVariant(
            problem, addition: addition ?? (arguments.sum == nil ? .none : .before),
            alignments: addresses.compactMap { $0.map { Int($0.address.bits % 16) } } + [problem.stride * size, outputStride * size]
                + (problem.rotation.map { [$0.head * $0.tableType.byteCount] } ?? []))
        if !variant.isScalar, let values = tuning.choice(problem.tuningKey(operation)), let tuned = NormConfiguration(values) {
            variant.configuration = tuned
        }
        let loaded = try norms.kernel(variant, in: self)
        let blocks = (problem.rowCount + variant.rows - 1) / variant.rows
        let grid = min(blocks, device.multiprocessorCount * loaded.residentBlocks)
        let none = DeviceAddress(bits: 0)
        try OperatorError.wrap(operation) { () throws(CUDAError) in
            try loaded.kernel.launch(
                LaunchConfiguration(grid: Extent(grid), block: Extent(variant.threadCount), isProgrammatic: overlapsLaunches), on: stream,
                arguments.x.address, arguments.output.address, arguments.weight.address, arguments.weight.address,
                arguments.cosine?.address ?? none, arguments.sine?.address ?? none, arguments.positions?.address ?? none,
                arguments.residual?.address ?? none, arguments.sum?.address ?? none, problem.epsilon, Int32(problem.tokens),
                Int32(problem.rotation?.positions ?? 1), Int32(problem.rotation?.head ?? 0), Int64(problem.stride), Int64(outputStride))
        }
    }
}
