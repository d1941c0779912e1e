/// Vectors behind one another: `values [count, dimensions]`, row-major.
public struct EmbeddingMatrix: Sendable, Equatable {
    public let dimensions: Int
    public private(set) var values: [Float]

    package init(dimensions: Int, values: [Float]) {
        self.dimensions = dimensions
        self.values = values
    }

    public var count: Int { dimensions == 0 ? 0 : values.count / dimensions }

    /// Vector `row`, which must be below ``count``.
    public subscript(row: Int) -> ArraySlice<Float> { values[row * dimensions..<(row + 1) * dimensions] }

    /// Dot product of two rows: their cosine, since vectors have length 1.
    public func similarity(_ first: Int, _ second: Int) -> Float {
        zip(self[first], self[second]).reduce(0) { $0 + $1.0 * $1.1 }
    }
}
