/// What a tensor to be written is: name, type and shape, without its bytes.
public struct TensorLayout: Sendable, Hashable {
    public let name: String
    public let dtype: DType
    /// Outermost dimension first; `[]` for a scalar.
    public let shape: [Int]
    public let byteCount: Int

    /// Throws ``TensorError/Code/shape`` where the shape has a negative dimension or its size does not fit an `Int`.
    public init(name: String, dtype: DType, shape: [Int]) throws(TensorError) {
        guard name != "__metadata__" else {
            throw TensorError(.header, "a tensor cannot be called __metadata__")
        }
        guard let byteCount = Shape.byteCount(of: shape, dtype), shape.count <= Shape.maximumRank else {
            throw TensorError(
                .shape, "tensor \(TensorError.quote(name)): the shape \(shape) of \(dtype) is negative somewhere or too large")
        }
        self.name = name
        self.dtype = dtype
        self.shape = shape
        self.byteCount = byteCount
    }
}
