package import ModelHub

/// Qwen3: pre-norm, QK-norm, SiLU-gated MLP, one rope base; decoders and the Qwen3-Embedding and Harrier 0.6b encoders.
///
/// Follows transformers' `modeling_qwen3.py`.
package enum Qwen3Family: ModelFamily {
    package static let modelTypes = ["qwen3"]

    package static func spec(from configuration: ModelConfiguration) throws -> TransformerSpec {
        try configuration.refuse("attention_bias") { try !$0.bool("attention_bias", default: false) }
        let activation = try configuration.values.string("hidden_act", default: "silu")
        guard activation == "silu" else { throw configuration.unsupported("hidden_act '\(activation)'", supported: "silu") }
        let queryHeads = try configuration.integer("num_attention_heads")
        let headDimension = try configuration.integer("head_dim", default: 128)
        let spec = TransformerSpec(
            vocabularySize: try configuration.integer("vocab_size"),
            hiddenSize: try configuration.integer("hidden_size"),
            intermediateSize: try configuration.integer("intermediate_size"),
            queryHeads: queryHeads,
            keyValueHeads: try configuration.integer("num_key_value_heads", default: queryHeads),
            headDimension: headDimension,
            layers: try configuration.layerSpecs(window: configuration.slidingWindow()),
            normPlacement: .pre,
            normWeightOffset: 0,
            normEpsilon: Float(try configuration.values.number("rms_norm_eps", default: 1e-6, in: 0...1)),
            hasQueryKeyNorm: true,
            activation: .silu,
            attentionScale: 1 / Float(headDimension).squareRoot(),
            embeddingScale: nil,
            isBidirectional: false,
            hasTiedHead: try configuration.tiesWordEmbeddings(default: false),
            maximumPositions: try configuration.integer("max_position_embeddings", default: 32_768))
        try spec.validate()
        return spec
    }

    package static func tensorNames(for spec: TransformerSpec) -> TensorNames {
        TensorNames(prefixes: ["model.", ""], feedForwardNorm: "post_attention_layernorm.weight")
    }

    package static func defaultPooling(for spec: TransformerSpec) -> EncoderHead.Pooling { .lastToken }
}
