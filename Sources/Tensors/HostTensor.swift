public import Foundation

/// A tensor in the host's memory: type, shape, and the bytes, which are owned or a slice of a mapped file.
///
/// The bytes are row-major (the last dimension is contiguous) and little-endian, as they lie in a safetensors file.
public struct HostTensor: Sendable {
    public let dtype: DType
    /// Outermost dimension first; `[]` for a scalar.
    public let shape: [Int]
    /// The elements. This may be a slice: its first index is `data.startIndex`, not 0, and it need not be aligned to the element.
    public let data: Data

    /// A tensor over these bytes, which are not copied. Throws ``TensorError/Code/shape`` where they are not as many as type and shape need.
    public init(dtype: DType, shape: [Int], data: Data) throws(TensorError) {
        guard let needed = Shape.byteCount(of: shape, dtype) else {
            throw TensorError(.shape, "the shape \(shape) of \(dtype) has a negative dimension or does not fit the memory")
        }
        guard needed == data.count else {
            throw TensorError(.shape, "the shape \(shape) of \(dtype) needs \(needed) bytes, \(data.count) are given")
        }
        self.init(checked: dtype, shape, data)
    }

    /// For bytes that a reader has checked against type and shape.
    init(checked dtype: DType, _ shape: [Int], _ data: Data) {
        self.dtype = dtype
        self.shape = shape
        self.data = data
    }

    public var elementCount: Int { data.count / dtype.byteCount }

    public var byteCount: Int { data.count }
}
