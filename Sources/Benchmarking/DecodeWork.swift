package import Transformer

/// What one token at batch 1 must read and compute at the least.
package struct DecodeWork: Sendable, Equatable {
    /// Every matrix once.
    package let weightBytes: Int
    /// Keys and values of the positions that the token sees.
    package let cacheBytes: Int
    /// Multiply-adds counted as two.
    package let operations: Double

    /// - Parameters:
    ///   - position: cached positions ahead of the token.
    ///   - weightBits: of a weight, 16 or 8; the factors of the rows are not counted.
    ///   - cacheFormat: codes are counted with their exponents.
    package init(spec: TransformerSpec, position: Int, weightBits: Int = 16, cacheFormat: KeyValueCacheFormat = .bfloat16) {
        let matrices = EmbedWork.matrixParameters(spec) + spec.vocabularySize * spec.hiddenSize
        let seen = spec.layers.map { min(position + 1, $0.window ?? .max) }.reduce(0, +)
        weightBytes = matrices * weightBits / 8
        cacheBytes = (seen - spec.layers.count) * cacheFormat.byteCount(spec)
        operations = 2 * Double(matrices) + 4 * Double(seen) * Double(spec.queryHeads * spec.headDimension)
    }

    package var bytes: Int { weightBytes + cacheBytes }
}
