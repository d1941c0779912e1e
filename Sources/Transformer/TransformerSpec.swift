/// Everything an executor needs to know of a decoder-style transformer; a model family fills it in, executors read nothing else.
///
/// The residual stream is `x [T, C]`. With ``NormPlacement/pre`` a layer is
///
///     x += O(attention(norm(x)));            x += down(act(gate(n)) * up(n)),  n = norm(x)
///
/// and with ``NormPlacement/sandwich`` each branch's output is normed once more before it is added. Queries and keys are RMS-normed per head
/// when ``hasQueryKeyNorm`` is set, then rotated. All norms are `x / sqrt(mean(x²) + ε) · (w + normWeightOffset)`.
public struct TransformerSpec: Sendable, Equatable {
    /// Rows of the embedding table; a tokenizer may use fewer.
    public var vocabularySize: Int
    /// C
    public var hiddenSize: Int
    /// I
    public var intermediateSize: Int
    /// H
    public var queryHeads: Int
    /// G, a divisor of ``queryHeads``
    public var keyValueHeads: Int
    /// D, even
    public var headDimension: Int
    /// One entry a layer.
    public var layers: [LayerSpec]
    public var normPlacement: NormPlacement
    /// 0 where a norm multiplies by `w`, 1 where by `1 + w`.
    public var normWeightOffset: Float
    public var normEpsilon: Float
    public var hasQueryKeyNorm: Bool
    public var activation: Activation
    /// Factor on `q · k`.
    public var attentionScale: Float
    /// Factor on embedding rows, to be rounded to the weights' type; nil for none.
    public var embeddingScale: Float?
    /// Whether a query sees later keys too (encoders such as EmbeddingGemma).
    public var isBidirectional: Bool
    /// Whether the vocabulary head is the embedding table.
    public var hasTiedHead: Bool
    /// Longest sequence the model was made for, in tokens.
    public var maximumPositions: Int

    public enum NormPlacement: Sendable { case pre, sandwich }

    public enum Activation: String, Sendable { case silu, geluTanh = "gelu_tanh", geluErf = "gelu_erf" }

    public struct LayerSpec: Sendable, Equatable {
        /// Key j is seen from position i when `|i - j| < window`; nil for no limit.
        public var window: Int?
        public var rope: RopeSpec

        public init(window: Int?, rope: RopeSpec) {
            self.window = window
            self.rope = rope
        }
    }

    /// Rotary position embedding: element i of a head's first half turns with element i of the second by `position / factor / base^(2i/D)`.
    public struct RopeSpec: Sendable, Hashable {
        public var base: Float
        /// Linear position scaling; 1 for none.
        public var factor: Float

        public init(base: Float, factor: Float = 1) {
            self.base = base
            self.factor = factor
        }
    }

    package init(
        vocabularySize: Int, hiddenSize: Int, intermediateSize: Int, queryHeads: Int, keyValueHeads: Int, headDimension: Int,
        layers: [LayerSpec], normPlacement: NormPlacement, normWeightOffset: Float, normEpsilon: Float, hasQueryKeyNorm: Bool,
        activation: Activation, attentionScale: Float, embeddingScale: Float?, isBidirectional: Bool, hasTiedHead: Bool, maximumPositions: Int
    ) {
        self.vocabularySize = vocabularySize
        self.hiddenSize = hiddenSize
        self.intermediateSize = intermediateSize
        self.queryHeads = queryHeads
        self.keyValueHeads = keyValueHeads
        self.headDimension = headDimension
        self.layers = layers
        self.normPlacement = normPlacement
        self.normWeightOffset = normWeightOffset
        self.normEpsilon = normEpsilon
        self.hasQueryKeyNorm = hasQueryKeyNorm
        self.activation = activation
        self.attentionScale = attentionScale
        self.embeddingScale = embeddingScale
        self.isBidirectional = isBidirectional
        self.hasTiedHead = hasTiedHead
        self.maximumPositions = maximumPositions
    }

    /// Weights of all layers, norms and the embedding table, in elements; a head of its own is counted too.
    public var parameterCount: Int {
        let attention = hiddenSize * headDimension * (2 * queryHeads + 2 * keyValueHeads)
        let norms = (normPlacement == .sandwich ? 4 : 2) * hiddenSize + (hasQueryKeyNorm ? 2 * headDimension : 0)
        let layer = attention + norms + 3 * hiddenSize * intermediateSize
        return layers.count * layer + hiddenSize + vocabularySize * hiddenSize * (hasTiedHead ? 1 : 2)
    }

    /// Checks that the sizes fit together; every executor may rely on what this checks.
    ///
    /// - Throws: ``TransformerError`` with code `invalidSpec`, naming the size at fault.
    public func validate() throws {
        func require(_ condition: Bool, _ message: @autoclosure () -> String) throws {
            guard condition else { throw TransformerError(.invalidSpec, message()) }
        }
        let sizes = [
            ("vocabulary size", vocabularySize, 1 << 24), ("hidden size", hiddenSize, 1 << 20), ("intermediate size", intermediateSize, 1 << 22),
            ("number of query heads", queryHeads, 1 << 12), ("number of key-value heads", keyValueHeads, 1 << 12),
            ("head dimension", headDimension, 1 << 12), ("number of layers", layers.count, 1 << 12),
            ("maximum position", maximumPositions, 1 << 30),
        ]
        for (name, value, limit) in sizes {
            try require(value >= 1 && value <= limit, "the \(name) is \(value), expected 1 to \(limit)")
        }
        try require(queryHeads % keyValueHeads == 0, "\(queryHeads) query heads cannot share \(keyValueHeads) key-value heads evenly")
        try require(headDimension % 2 == 0, "the head dimension is \(headDimension), rotary embeddings need an even one")
        try require(normEpsilon >= 0 && normEpsilon.isFinite, "the norm epsilon is \(normEpsilon), expected a finite number of at least 0")
        try require(attentionScale.isFinite && attentionScale > 0, "the attention scale is \(attentionScale), expected a positive number")
        for (index, layer) in layers.enumerated() {
            try require(layer.window.map { $0 >= 1 } ?? true, "layer \(index) has a window of \(layer.window ?? 0), expected at least 1")
            try require(
                layer.rope.base > 0 && layer.rope.base.isFinite && layer.rope.factor > 0 && layer.rope.factor.isFinite,
                "layer \(index) has rope base \(layer.rope.base) and factor \(layer.rope.factor), expected positive numbers")
        }
    }
}
