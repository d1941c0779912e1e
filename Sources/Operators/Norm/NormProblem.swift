import Tensors

/// Which elements are normalised together.
public enum NormScope: String, Sendable, Hashable, CaseIterable {
    /// The whole hidden row, heads together.
    case row
    /// Each head for itself, as the QK-norms of Qwen3 and Gemma3 do.
    case head
}

/// The rotation that follows a norm, checked.
struct RotationProblem: Hashable {
    let tableType: DType
    /// Rows of the tables.
    let positions: Int
    /// Elements of a head; element i turns with element i + head / 2.
    let head: Int
}

/// An RMSNorm, with or without rotation behind it, whose arguments were checked.
package struct NormProblem {
    let dtype: DType
    let weightType: DType
    /// Of x and of the result.
    let shape: [Int]
    let tokens: Int
    /// Rows of a token that are normalised each for itself.
    let heads: Int
    /// Elements that are normalised together.
    let row: Int
    /// Elements from token to token of x.
    let stride: Int
    let epsilon: Float
    let unitOffset: Bool
    let rotation: RotationProblem?

    var rowCount: Int { tokens * heads }

    func tuningKey(_ operation: String) -> TuningKey {
        TuningKey(operation: operation, inputType: dtype, outputType: dtype, sizes: [row, rotation?.head ?? 0])
    }
}

extension NormProblem {
    /// RMSNorm over the last dimension.
    package init(
        rmsNorm x: any TensorArgument, weight: any TensorArgument, residual: (any TensorArgument)? = nil, epsilon: Float, unitOffset: Bool,
        on place: TensorPlace
    ) throws(OperatorError) {
        let check = ArgumentCheck("rmsNorm", on: place)
        let x = Operand("x", x)
        let weight = Operand("weight", weight)
        let residual = residual.map { Operand("residual", $0) }
        try check.places(x, weight, residual)
        try check.type(x, ArgumentCheck.floats)
        try check.type(weight, ArgumentCheck.floats)
        try check.sameType(residual, as: x)
        let layout = Self.layout(x.tensor)
        if layout == nil { try check.rows(x, trailing: 1) }
        try check.contiguous(weight, residual)
        try check.rank(x, 1...Shape.maximumRank, "[..., hidden]")
        try check.rank(weight, 1...1, "[hidden]")
        let row = x.tensor.shape[x.tensor.shape.count - 1]
        try check.shape(weight, [row], "hidden")
        try check.shape(residual, x.tensor.shape, "as x")
        let (tokens, heads, stride) = layout ?? (0, 1, row)
        try check.fits(
            ("the number of rows", StridedLayout.count([tokens, heads])), ("the hidden size", row))
        try check.positive("epsilon", epsilon)
        dtype = x.tensor.dtype
        weightType = weight.tensor.dtype
        shape = x.tensor.shape
        self.tokens = tokens
        self.heads = heads
        self.row = row
        self.stride = stride
        self.epsilon = epsilon
        self.unitOffset = unitOffset
        rotation = nil
    }

    /// Rows of the last dimension, evenly spaced, or rows that stand in even groups: the heads of a slice of a fused projection.
    private static func layout(_ x: any TensorArgument) -> (tokens: Int, heads: Int, stride: Int)? {
        guard let row = x.shape.last else { return nil }
        if x.shape.contains(0) { return (0, 1, max(1, row)) }
        func join(_ tensor: some TensorArgument, _ trailing: Int) -> (tokens: Int, heads: Int, stride: Int)? {
            guard tensor.shape.count >= trailing, StridedLayout.isDense(tensor, trailing: trailing),
                let rows = StridedLayout.joinLeading(tensor, trailing: trailing)
            else { return nil }
            return (rows.count, trailing == 1 ? 1 : tensor.shape[tensor.shape.count - 2], rows.stride)
        }
        return join(x, 1) ?? join(x, 2)
    }

    /// RMSNorm and rotation. x is [..., tokens, hidden] or, per head, [..., tokens, heads, head].
    package init(
        rmsNormRoPE x: any TensorArgument, weight: any TensorArgument, cosine: any TensorArgument, sine: any TensorArgument,
        positionCount: Int?, scope: NormScope, headCount: Int?, epsilon: Float, unitOffset: Bool, on place: TensorPlace
    ) throws(OperatorError) {
        let operation = "rmsNormRoPE"
        let check = ArgumentCheck(operation, on: place)
        let perHead = scope == .head
        let trailing = perHead ? 2 : 1
        let x = Operand("x", x)
        let weight = Operand("weight", weight)
        let cosine = Operand("cosine", cosine)
        let sine = Operand("sine", sine)
        try check.places(x, weight, cosine, sine)
        try check.type(x, ArgumentCheck.floats)
        try check.type(weight, ArgumentCheck.floats)
        try check.type(cosine, ArgumentCheck.floats)
        try check.sameType(sine, as: cosine)
        try check.rows(x, trailing: trailing)
        try check.contiguous(weight, cosine, sine)
        try check.rank(
            x, (trailing + 1)...Shape.maximumRank, perHead ? "[..., tokens, heads, head size]" : "[..., tokens, hidden]")
        try check.rank(weight, 1...1, perHead ? "[head size]" : "[hidden]")
        let tableShape = try Self.tableShape(check, cosine)
        try check.shape(sine, cosine.tensor.shape, "as cosine")

        let sizes = x.tensor.shape
        let row = sizes[sizes.count - 1]
        let heads = perHead ? sizes[sizes.count - 2] : 1
        let length = sizes[sizes.count - trailing - 1]
        let head = tableShape.size
        try check.shape(weight, [row], perHead ? "head size" : "hidden")
        guard head > 0, head % 2 == 0 else {
            throw .argument(operation, "the head size", expected: "a positive even number", actual: "\(head)")
        }
        if let headCount {
            let all = headCount.multipliedReportingOverflow(by: head)
            guard headCount > 0, !all.overflow, all.partialValue == (perHead ? heads * row : row) else {
                throw .argument(
                    operation, "the number of heads", expected: "\((perHead ? heads * row : row)) / \(head) of x", actual: "\(headCount)")
            }
        }
        guard row % head == 0, !perHead || row == head else {
            throw .shape(
                operation, "cosine",
                expected: perHead ? "[\(length), \(row)] (tokens, head size)" : "[\(length), head size that divides \(row)]",
                actual: cosine.tensor.shape)
        }
        let tokens = StridedLayout.count(sizes.dropLast(trailing))
        if let positionCount {
            guard positionCount == tokens else {
                throw .shape(operation, "positions", expected: "[\(tokens ?? 0)] (tokens)", actual: [positionCount])
            }
        } else if tableShape.positions != length, !sizes.contains(0) {
            throw .shape(operation, "cosine", expected: "[\(length), \(head)] (tokens, head size)", actual: cosine.tensor.shape)
        }
        try check.fits(
            ("the number of rows", tokens.flatMap { StridedLayout.count([$0, heads]) }), ("the hidden size", row),
            ("the length of the tables", tableShape.positions))
        try check.positive("epsilon", epsilon)
        dtype = x.tensor.dtype
        weightType = weight.tensor.dtype
        shape = sizes
        self.tokens = sizes.contains(0) ? 0 : tokens ?? 0
        self.heads = heads
        self.row = row
        stride = StridedLayout.joinLeading(x.tensor, trailing: trailing)?.stride ?? row * heads
        self.epsilon = epsilon
        self.unitOffset = unitOffset
        rotation = RotationProblem(tableType: cosine.tensor.dtype, positions: tableShape.positions, head: head)
    }

    /// [positions, head size], also written [1, positions, 1, head size].
    private static func tableShape(_ check: ArgumentCheck, _ table: Operand) throws(OperatorError) -> (positions: Int, size: Int) {
        let shape = table.tensor.shape
        let form = "[tokens, head size] or [1, tokens, 1, head size]"
        switch shape.count {
        case 2: return (shape[0], shape[1])
        case 4 where shape[0] == 1 && shape[2] == 1: return (shape[1], shape[3])
        default: throw .shape(check.operation, table.name, expected: form, actual: shape)
        }
    }

    /// Positions that come as numbers are held against the tables.
    static func check(_ positions: [Int32], _ rows: Int) throws(OperatorError) {
        for (index, position) in positions.enumerated() where position < 0 || Int(position) >= rows {
            throw .argument("rmsNormRoPE", "positions[\(index)]", expected: "0 to \(rows - 1), the tables' last", actual: "\(position)")
        }
    }
}
