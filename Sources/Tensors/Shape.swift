/// Arithmetic on shapes. A shape is an `[Int]`, outermost dimension first; `[]` is a scalar's.
package enum Shape {
    /// The bound that PyTorch has too.
    package static let maximumRank = 64

    /// The number of elements, or nil where a dimension is negative or the product does not fit an `Int`.
    package static func elementCount(of shape: [Int]) -> Int? {
        var count = 1
        for dimension in shape {
            guard dimension >= 0 else { return nil }
            let (product, overflow) = count.multipliedReportingOverflow(by: dimension)
            guard !overflow else { return nil }
            count = product
        }
        return count
    }

    /// The number of bytes, or nil where a dimension is negative or the product does not fit an `Int`.
    package static func byteCount(of shape: [Int], _ dtype: DType) -> Int? {
        guard let count = elementCount(of: shape) else { return nil }
        let (product, overflow) = count.multipliedReportingOverflow(by: dtype.byteCount)
        return overflow ? nil : product
    }
}
