package import Transformer

/// The arithmetic of an encoder's forward pass, multiply-adds counted as two.
package struct EmbedWork: Sendable, Equatable {
    /// What the model asks for: every product of the layers, and the pairs of query and key that a query sees.
    package let trueOperations: Double
    /// What the published benchmark counts: the same products, and causal pairs without a window in all layers.
    package let publishedOperations: Double

    /// - Parameters:
    ///   - length: tokens of each text.
    ///   - count: texts.
    package init(spec: TransformerSpec, length: Int, count: Int) {
        let tokens = Double(length) * Double(count)
        let linear = 2 * Double(Self.matrixParameters(spec)) * tokens
        // Two products of D for each pair and query head.
        let pair = 4 * Double(spec.queryHeads * spec.headDimension)
        let seen = spec.layers.reduce(0.0) { $0 + Double(Self.pairs(length, window: $1.window, isBidirectional: spec.isBidirectional)) }
        trueOperations = linear + pair * seen * Double(count)
        publishedOperations = linear + pair * Double(spec.layers.count) * Double(length + 1) / 2 * tokens
    }

    /// Weights of the layers' matrices; the embedding table is only looked up.
    package static func matrixParameters(_ spec: TransformerSpec) -> Int {
        let attention = spec.hiddenSize * spec.headDimension * (2 * spec.queryHeads + 2 * spec.keyValueHeads)
        return spec.layers.count * (attention + 3 * spec.hiddenSize * spec.intermediateSize)
    }

    /// Pairs of query and key in one text that the mask lets through.
    package static func pairs(_ length: Int, window: Int?, isBidirectional: Bool) -> Int {
        let reach = min(window ?? length, length)
        // The first `reach` queries see all keys before them; the others see `reach`, themselves counted.
        let behind = reach * (reach + 1) / 2 + (length - reach) * reach
        return isBidirectional ? 2 * behind - length : behind
    }
}
