/// What turns a sequence's hidden states into one vector: pooling, dense layers, a cut to fewer dimensions, normalisation.
///
/// Follows sentence-transformers' modules; the cut is Matryoshka's (arXiv 2205.13147): the first dimensions of the finished vector, normed again.
public struct EncoderHead: Sendable {
    public enum Pooling: String, Sendable {
        /// The hidden state of the last token.
        case lastToken = "last-token"
        /// The mean of all tokens' hidden states.
        case mean
        /// The hidden state of the first token.
        case firstToken = "first-token"
    }

    /// `activation(W x + b)`
    package struct Dense: Sendable {
        package enum Activation: Sendable { case identity, tanh }

        package let weight: WeightMatrix  // [out, in]
        package let bias: WeightMatrix?  // [out]
        package let activation: Activation

        package init(weight: WeightMatrix, bias: WeightMatrix?, activation: Activation) {
            self.weight = weight
            self.bias = bias
            self.activation = activation
        }
    }

    public var pooling: Pooling
    package var dense: [Dense]
    /// Whether vectors are scaled to length 1.
    public var normalizes: Bool
    /// Keeps only so many leading dimensions; nil for all.
    public var dimensions: Int?

    package init(pooling: Pooling, dense: [Dense] = [], normalizes: Bool = true, dimensions: Int? = nil) {
        self.pooling = pooling
        self.dense = dense
        self.normalizes = normalizes
        self.dimensions = dimensions
    }

    /// Length of a vector for a model of `hiddenSize`, before the cut.
    package func fullDimension(hiddenSize: Int) -> Int { dense.last?.weight.rows ?? hiddenSize }

    /// Checks that the dense layers chain and the cut is no longer than the vector.
    package func validate(hiddenSize: Int) throws {
        var width = hiddenSize
        for (index, layer) in dense.enumerated() {
            guard layer.weight.columns == width else {
                throw TransformerError(
                    .wrongShape, "dense layer \(index) takes \(layer.weight.columns) features, but \(width) come out of the layer before")
            }
            width = layer.weight.rows
        }
        if let dimensions, dimensions < 1 || dimensions > width {
            throw TransformerError(.invalidSpec, "\(dimensions) dimensions were asked for, the model's vectors have 1 to \(width)")
        }
    }
}
