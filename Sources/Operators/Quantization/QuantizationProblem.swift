package import Tensors

/// A quantisation or its way back, whose arguments were checked.
package struct QuantizationProblem {
    let operation: String
    /// Of the values.
    let dtype: DType
    let format: Float8Format
    let granularity: QuantizationGranularity
    let shape: [Int]
    let rows: Int
    let columns: Int
    /// Elements from row to row of the source.
    let stride: Int

    var scaleCount: Int {
        switch granularity {
        case .tensor: 1
        case .row: rows
        case .column: columns
        }
    }

    var isEmpty: Bool { rows == 0 || columns == 0 }

    private init(
        _ check: ArgumentCheck, _ x: Operand, dtype: DType, _ format: Float8Format, _ granularity: QuantizationGranularity
    ) throws(OperatorError) {
        try check.rank(x, 1...Shape.maximumRank, "[..., columns]")
        let shape = x.tensor.shape
        let rows = StridedLayout.count(shape.dropLast())
        columns = shape[shape.count - 1]
        try check.fits(("the number of rows", rows), ("the number of columns", columns))
        operation = check.operation
        self.dtype = dtype
        self.format = format
        self.granularity = granularity
        self.shape = shape
        self.rows = rows ?? 0
        stride = StridedLayout.joinLeading(x.tensor, trailing: 1)?.stride ?? columns
    }

    /// - Parameter scales: Given scales, fp32 of one value, or one for each row or column.
    package init(
        quantize x: any TensorArgument, scales: (any TensorArgument)?, format: Float8Format, granularity: QuantizationGranularity,
        on place: TensorPlace
    ) throws(OperatorError) {
        let check = ArgumentCheck("quantize", on: place)
        let x = Operand("x", x)
        let scales = scales.map { Operand("scales", $0) }
        try check.places(x, scales)
        try check.type(x, ArgumentCheck.floats)
        try check.type(scales, [.float32])
        try check.rows(x, trailing: 1)
        try check.contiguous(scales)
        try self.init(check, x, dtype: x.tensor.dtype, format, granularity)
        try check.shape(scales, [scaleCount], "one for \(granularity == .tensor ? "the" : "each") \(granularity.rawValue)")
    }

    package init(dequantize source: Quantized<some TensorArgument>, as dtype: DType, on place: TensorPlace) throws(OperatorError) {
        let check = ArgumentCheck("dequantize", on: place)
        let codes = Operand("codes", source.codes)
        let scales = Operand("scales", source.scales)
        try check.places(codes, scales)
        try check.type(codes, ArgumentCheck.codes)
        try check.type(scales, [.float32])
        guard ArgumentCheck.floats.contains(dtype) else {
            throw OperatorError(
                .dataType, in: "dequantize", tensor: "output", expected: ArgumentCheck.floats.map(\.description).joined(separator: ", "),
                actual: "\(dtype)", supportedTypes: ArgumentCheck.floats, "codes cannot become \(dtype)")
        }
        try check.rows(codes, trailing: 1)
        try check.contiguous(scales)
        let format = Float8Format(codes.tensor.dtype) ?? .e4m3
        try self.init(check, codes, dtype: dtype, format, source.granularity)
        try check.shape(
            scales, [scaleCount], "one for \(granularity == .tensor ? "the" : "each") \(granularity.rawValue)")
    }
}
