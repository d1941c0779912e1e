package import Tensors

/// A product C[M, N] = A[M, K] * B[N, K]^T with what follows it, whose arguments were checked.
package struct GEMMProblem {
    let operation: String
    /// Of A and B.
    let inputType: DType
    let outputType: DType
    /// Of the result.
    let shape: [Int]
    let m: Int
    /// Columns of the result; a gated product multiplies with twice as many rows of weights.
    let n: Int
    let k: Int
    /// Elements from row to row of A.
    let stride: Int
    var activation: Activation?
    var isGated = false
    var hasBias = false
    var hasResidual = false
    /// fp8: sums leave the tensor cores every 128 of K.
    var promotes = true
    /// fp8: rows of either operand have factors of their own.
    var scalesRows = false
    /// fp8: rows of one operand have factors of their own, the other has one for all.
    var scalesOneSide = false

    /// [..., K] and [N, K].
    private init(
        _ check: ArgumentCheck, _ a: Operand, _ b: Operand, _ outputType: DType, columns: String, inner: String
    ) throws(OperatorError) {
        try check.rank(a, 1...Shape.maximumRank, "[..., \(inner)]")
        try check.rank(b, 2...2, "[\(columns), \(inner)]")
        let k = a.tensor.shape[a.tensor.shape.count - 1]
        let n = b.tensor.shape[0]
        try check.size(b, 1, k, "[\(columns), \(k)], \(k) as the last of \(a.name)")
        let rows = StridedLayout.count(a.tensor.shape.dropLast())
        try check.fits(("the number of rows of \(a.name)", rows), ("the number of rows of \(b.name)", n * 2), ("the inner size", k))
        operation = check.operation
        inputType = a.tensor.dtype
        self.outputType = outputType
        shape = Array(a.tensor.shape.dropLast()) + [n]
        m = rows ?? 0
        self.n = n
        self.k = k
        stride = StridedLayout.joinLeading(a.tensor, trailing: 1)?.stride ?? k
    }

    var isEmpty: Bool { m == 0 || n == 0 }
    var tuningKey: TuningKey {
        TuningKey(operation: promotes ? operation : "fp8GemmFast", inputType: inputType, outputType: outputType, sizes: [m, n, k])
    }
    /// Rows of weights that a gated product multiplies with, gate and up interleaved eight by eight and padded to whole eights; otherwise ``n``.
    var weightRows: Int { isGated ? (n + 7) / 8 * 16 : n }
}

extension GEMMProblem {
    /// bf16, fp16 or fp32, bias, activation and residual.
    package init(
        gemm a: any TensorArgument, _ b: any TensorArgument, bias: (any TensorArgument)?, activation: Activation?,
        residual: (any TensorArgument)?, outputType: DType?, on place: TensorPlace
    ) throws(OperatorError) {
        let check = ArgumentCheck("gemm", on: place)
        let (a, b) = (Operand("a", a), Operand("b", b))
        let bias = bias.map { Operand("bias", $0) }
        let residual = residual.map { Operand("residual", $0) }
        try check.places(a, b, bias, residual)
        try check.type(a, ArgumentCheck.floats)
        try check.sameType(b, as: a)
        try check.type(bias, [.float32])
        let output = outputType ?? a.tensor.dtype
        try Self.checkOutput(output, of: a.tensor.dtype, check)
        try check.type(residual, [output])
        try check.rows(a, trailing: 1)
        try check.contiguous(b, bias, residual)
        try self.init(check, a, b, output, columns: "N", inner: "K")
        try check.shape(bias, [n], "N")
        try check.shape(residual, shape, "as the result")
        self.activation = activation
        hasBias = bias != nil
        hasResidual = residual != nil
    }

    private static func checkOutput(_ output: DType, of input: DType, _ check: ArgumentCheck) throws(OperatorError) {
        let supported: [DType] = input == .float32 ? [.float32] : ArgumentCheck.floats
        guard !supported.contains(output) else { return }
        let list = supported.map(\.description).joined(separator: ", ")
        throw OperatorError(
            .dataType, in: check.operation, tensor: "output", expected: list, actual: "\(output)", supportedTypes: supported,
            "the result cannot be \(output) for \(input) operands, expected \(list)")
    }

    /// act(x * gate^T) * (x * up^T).
    package init(
        gatedMLP x: any TensorArgument, gate: any TensorArgument, up: any TensorArgument, activation: Activation, on place: TensorPlace
    ) throws(OperatorError) {
        let check = ArgumentCheck("gatedMLP", on: place)
        let (x, gate, up) = (Operand("x", x), Operand("gate", gate), Operand("up", up))
        try check.places(x, gate, up)
        try check.type(x, ArgumentCheck.floats)
        try check.sameType(gate, as: x)
        try check.sameType(up, as: x)
        try check.rows(x, trailing: 1)
        try check.contiguous(gate, up)
        try check.rank(up, 2...2, "[intermediate, hidden]")
        try self.init(check, x, gate, x.tensor.dtype, columns: "intermediate", inner: "hidden")
        try check.shape(up, gate.tensor.shape, "as gate")
        self.activation = activation
        isGated = true
    }

    /// Codes of 8 bits with their scales.
    package init(
        fp8Gemm a: Quantized<some TensorArgument>, _ b: Quantized<some TensorArgument>, bias: (any TensorArgument)?, outputType: DType,
        on place: TensorPlace
    ) throws(OperatorError) {
        let check = ArgumentCheck("fp8Gemm", on: place)
        let operands = (a: Operand("a", a.codes), b: Operand("b", b.codes))
        let scales = (a: Operand("the scales of a", a.scales), b: Operand("the scales of b", b.scales))
        let bias = bias.map { Operand("bias", $0) }
        try check.places(operands.a, operands.b, scales.a, scales.b, bias)
        try check.type(operands.a, [.float8E4M3])
        try check.type(operands.b, [.float8E4M3])
        try check.type(scales.a, [.float32])
        try check.type(scales.b, [.float32])
        try check.type(bias, [.float32])
        if !ArgumentCheck.floats.contains(outputType) { try Self.checkOutput(outputType, of: .float8E4M3, check) }
        try check.rows(operands.a, trailing: 1)
        try check.contiguous(operands.b, scales.a, scales.b, bias)
        try self.init(check, operands.a, operands.b, outputType, columns: "N", inner: "K")
        try Self.checkScales(check, scales.a, a.granularity, rows: m)
        try Self.checkScales(check, scales.b, b.granularity, rows: n)
        try check.shape(bias, [n], "N")
        hasBias = bias != nil
        scalesRows = a.granularity == .row || b.granularity == .row
        scalesOneSide = a.granularity != b.granularity
    }

    private static func checkScales(
        _ check: ArgumentCheck, _ scales: Operand, _ granularity: QuantizationGranularity, rows: Int
    ) throws(OperatorError) {
        switch granularity {
        case .tensor: try check.shape(scales, [1], "one for the tensor")
        case .row: try check.shape(scales, [rows], "one for each row")
        case .column:
            throw .argument(
                check.operation, scales.name, expected: "one for the tensor or one for each row, which leave the sum over K",
                actual: "one for each column")
        }
    }
}
