/// Where a tensor lies in a safetensors file, and what it is.
public struct TensorDescriptor: Sendable, Hashable {
    public let name: String
    public let dtype: DType
    /// Outermost dimension first; `[]` for a scalar.
    public let shape: [Int]
    /// The tensor's bytes, counted from the start of the file.
    public let byteRange: Range<Int>

    public var elementCount: Int { byteRange.count / dtype.byteCount }

    public var byteCount: Int { byteRange.count }

    /// Whether the first byte lies at a multiple of the element's size, so that the mapped bytes can be used as elements where they are.
    ///
    /// Writers that did not pad their header left files where this is false. They are valid: ``HostTensor/float32()`` reads them, and code that
    /// needs aligned elements must copy the tensor first.
    public var isAligned: Bool { byteRange.lowerBound % dtype.byteCount == 0 }
}
