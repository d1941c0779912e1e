import CUDA
import Tensors

extension OperatorContext {
    /// Norms and rotates the query and key heads of a fused projection, in one launch: the first `queryHeads` heads with one weight, the others with the
    /// second.
    ///
    /// Per head as ``rmsNormRoPE(_:weight:cosine:sine:positions:scope:headCount:epsilon:unitOffset:path:into:)`` of scope ``NormScope/head``, but for what
    /// lies on the GPU already, and without a look at the positions: they must be below the tables' length.
    /// - Parameters:
    ///   - x: [T, heads, D] bf16, tokens evenly spaced.
    ///   - queryWeight: [D] fp32, of the heads below `queryHeads`.
    ///   - keyWeight: [D] fp32, of the heads from `queryHeads` on.
    ///   - cosine: [positions, D / 2] fp32, and sine likewise.
    ///   - positions: [T] int32.
    ///   - output: as x, in place when nil; contiguous, or laid out as x.
    package func normAndRotate(
        _ x: DeviceTensor, queryHeads: Int, queryWeight: DeviceTensor, keyWeight: DeviceTensor, cosine: DeviceTensor, sine: DeviceTensor,
        positions: DeviceTensor, epsilon: Float, unitOffset: Bool, into output: DeviceTensor? = nil
    ) throws(OperatorError) {
        let operation = "normAndRotate"
        let check = ArgumentCheck(operation, on: place)
        let operand = Operand("x", x)
        try check.places(
            operand, Operand("queryWeight", queryWeight), Operand("keyWeight", keyWeight), Operand("cosine", cosine), Operand("sine", sine),
            Operand("positions", positions))
        try check.type(Operand("positions", positions), [.int32])
        try check.rank(operand, 3...3, "[tokens, heads, head size]")
        try check.shape(Operand("positions", positions), [x.shape[0]], "tokens")
        try check.rank(Operand("cosine", cosine), 2...2, "[positions, head size / 2]")
        let head = x.shape[2]
        // The checks of the public form want tables of whole heads; these are their first halves.
        try check.size(Operand("cosine", cosine), 1, head / 2, "[positions, \(head / 2)]")
        try check.shape(Operand("sine", sine), cosine.shape, "as cosine")
        try check.shape(Operand("keyWeight", keyWeight), queryWeight.shape, "as queryWeight")
        guard (0...x.shape[1]).contains(queryHeads) else {
            throw .argument(operation, "the number of query heads", expected: "0 to \(x.shape[1])", actual: "\(queryHeads)")
        }
        let whole = DeviceTensor(
            unchecked: cosine.dtype, [cosine.shape[0], head], [head, 1], cosine.storage, cosine.byteOffset)
        let problem = try NormProblem(
            rmsNormRoPE: x, weight: queryWeight, cosine: whole, sine: whole, positionCount: x.shape[0], scope: .head, headCount: nil,
            epsilon: epsilon, unitOffset: unitOffset, on: place)
        let result = try self.output(operation, output ?? x, x.dtype, x.shape, like: x)
        guard problem.rowCount > 0 else { return }
        let outputStride = result.isContiguous ? problem.heads * problem.row : problem.stride
        let size = problem.dtype.byteCount
        var variant = NormVariant(
            problem,
            alignments: [x, result, queryWeight, keyWeight, cosine, sine].map { Int($0.address.bits % 16) }
                + [problem.stride * size, outputStride * size, head / 2 * cosine.dtype.byteCount])
        variant.split = queryHeads
        let loaded = try norms.kernel(variant, in: self)
        let blocks = (problem.rowCount + variant.rows - 1) / variant.rows
        let none = DeviceAddress(bits: 0)
        try OperatorError.wrap(operation) { () throws(CUDAError) in
            try loaded.kernel.launch(
                LaunchConfiguration(
                    grid: Extent(min(blocks, device.multiprocessorCount * loaded.residentBlocks)), block: Extent(variant.threadCount),
                    isProgrammatic: overlapsLaunches), on: stream, x.address, result.address, queryWeight.address, keyWeight.address,
                cosine.address, sine.address, positions.address, none, none, problem.epsilon, Int32(problem.tokens),
                Int32(cosine.shape[0]), Int32(head / 2), Int64(problem.stride), Int64(outputStride))
        }
    }
}
