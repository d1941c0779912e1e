/// How near vectors are to each other.
package enum VectorComparison {
    /// In fp64; NaN where a vector is zero.
    package static func cosine(_ a: some Collection<Float>, _ b: some Collection<Float>) -> Double {
        var (ab, aa, bb) = (0.0, 0.0, 0.0)
        for (x, y) in zip(a, b) {
            ab += Double(x) * Double(y)
            aa += Double(x) * Double(x)
            bb += Double(y) * Double(y)
        }
        return ab / (aa * bb).squareRoot()
    }
}
