public import Tensors

extension DeviceTensor {
    /// The same elements in another shape; one size may be -1 and is then worked out. The tensor must be contiguous.
    public func reshaped(_ shape: [Int]) throws(OperatorError) -> DeviceTensor {
        guard isContiguous else {
            throw OperatorError(
                .layout, in: "reshaped", tensor: "tensor", expected: "contiguous", actual: "strides \(strides)",
                "a tensor of shape \(self.shape) and strides \(strides) cannot take another shape without a copy")
        }
        var sizes = shape
        if let open = shape.firstIndex(of: -1) {
            let known = StridedLayout.count(shape.enumerated().filter { $0.offset != open }.map(\.element)) ?? 0
            guard known > 0, elementCount % known == 0 else {
                throw .shape("reshaped", "the new shape", expected: "a shape of \(elementCount) elements", actual: shape)
            }
            sizes[open] = elementCount / known
        }
        guard Shape.elementCount(of: sizes) == elementCount else {
            throw .shape("reshaped", "the new shape", expected: "a shape of \(elementCount) elements", actual: shape)
        }
        return DeviceTensor(unchecked: dtype, sizes, StridedLayout.contiguousStrides(sizes), storage, byteOffset)
    }

    /// The part of the tensor whose index in one dimension lies in a range, such as the keys of a fused projection.
    public func slice(_ dimension: Int, _ range: Range<Int>) throws(OperatorError) -> DeviceTensor {
        guard shape.indices.contains(dimension) else {
            throw .argument("slice", "the dimension", expected: "one of the \(shape.count) dimensions", actual: "\(dimension)")
        }
        guard range.lowerBound >= 0, range.upperBound <= shape[dimension] else {
            throw .argument("slice", "the range", expected: "a part of 0..<\(shape[dimension])", actual: "\(range)")
        }
        var sizes = shape
        sizes[dimension] = range.count
        return DeviceTensor(unchecked: dtype, sizes, strides, storage, byteOffset + range.lowerBound * strides[dimension] * dtype.byteCount)
    }

    /// The tensor with one dimension split in two, such as [tokens, heads * D] into [tokens, heads, D]. Works on slices too.
    public func split(_ dimension: Int, into sizes: (Int, Int)) throws(OperatorError) -> DeviceTensor {
        guard shape.indices.contains(dimension) else {
            throw .argument("split", "the dimension", expected: "one of the \(shape.count) dimensions", actual: "\(dimension)")
        }
        let product = sizes.0.multipliedReportingOverflow(by: sizes.1)
        guard sizes.0 >= 0, sizes.1 >= 0, !product.overflow, product.partialValue == shape[dimension] else {
            throw .argument("split", "the sizes", expected: "two whose product is \(shape[dimension])", actual: "\(sizes.0) and \(sizes.1)")
        }
        var shape = shape
        var strides = strides
        let stride = strides[dimension]
        shape.replaceSubrange(dimension...dimension, with: [sizes.0, sizes.1])
        strides.replaceSubrange(dimension...dimension, with: [stride * sizes.1, stride])
        return DeviceTensor(unchecked: dtype, shape, strides, storage, byteOffset)
    }

    /// The same bytes as another element type of the same size, such as codes that were stored as uint8.
    public func reinterpreted(as dtype: DType) throws(OperatorError) -> DeviceTensor {
        guard dtype.byteCount == self.dtype.byteCount else {
            throw .argument("reinterpreted", "the type", expected: "one of \(self.dtype.byteCount) bytes", actual: "\(dtype)")
        }
        return DeviceTensor(unchecked: dtype, shape, strides, storage, byteOffset)
    }
}
