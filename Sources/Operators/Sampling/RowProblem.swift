import Tensors

/// A piece of sampling over the last dimension, whose arguments were checked.
package struct RowProblem {
    let operation: String
    let dtype: DType
    let shape: [Int]
    let rows: Int
    let columns: Int
    /// Elements from row to row.
    let stride: Int

    /// The most entries that top-k gives.
    static let maximumCount = 1024

    package init(_ operation: String, _ x: any TensorArgument, temperature: Float = 1, count: Int? = nil, on place: TensorPlace) throws(OperatorError)
    {
        let check = ArgumentCheck(operation, on: place)
        let x = Operand("x", x)
        try check.places(x)
        try check.type(x, ArgumentCheck.floats)
        try check.rows(x, trailing: 1)
        try check.rank(x, 1...Shape.maximumRank, "[..., columns]")
        shape = x.tensor.shape
        columns = shape[shape.count - 1]
        let rows = StridedLayout.count(shape.dropLast())
        try check.fits(("the number of rows", rows), ("the number of columns", columns))
        try check.positive("the temperature", temperature)
        if let count {
            guard count >= 0, count <= min(columns, Self.maximumCount) else {
                throw .argument(
                    operation, "the number of entries", expected: "0 to \(min(columns, Self.maximumCount))", actual: "\(count)")
            }
        }
        if operation == "argmax", columns == 0, rows != 0 {
            throw .shape(operation, "x", expected: "rows of one column and more", actual: shape)
        }
        self.operation = operation
        dtype = x.tensor.dtype
        self.rows = rows ?? 0
        stride = StridedLayout.joinLeading(x.tensor, trailing: 1)?.stride ?? columns
    }

    var isEmpty: Bool { rows == 0 || columns == 0 }
}
