package import ModelHub

/// Gemma 3 text: sandwich norms of 1 + w, QK-norm, tanh-GELU-gated MLP, sliding layers with a rope base of their own, scaled embeddings; decoders,
/// the Harrier 270m encoder, and EmbeddingGemma with attention in both directions.
///
/// Follows transformers' `modeling_gemma3.py`.
package enum Gemma3Family: ModelFamily {
    package static let modelTypes = ["gemma3_text", "gemma3"]

    package static func spec(from configuration: ModelConfiguration) throws -> TransformerSpec {
        try configuration.refuse("attention_bias") { try !$0.bool("attention_bias", default: false) }
        try configuration.refuse("final_logit_softcapping") { _ in false }
        try configuration.refuse("attn_logit_softcapping") { _ in false }
        let activation = try configuration.values.stringIfPresent(anyOf: ["hidden_activation", "hidden_act"]) ?? "gelu_pytorch_tanh"
        guard activation == "gelu_pytorch_tanh" else {
            throw configuration.unsupported("hidden_activation '\(activation)'", supported: "gelu_pytorch_tanh")
        }
        let hiddenSize = try configuration.integer("hidden_size", default: 2304)
        let isBidirectional = try configuration.values.bool("use_bidirectional_attention", default: false)
        // The file holds the whole width of a two-sided window; each side then sees |i - j| < width / 2 + 1.
        let window = try configuration.slidingWindow().map { isBidirectional ? $0 / 2 + 1 : $0 }
        let spec = TransformerSpec(
            vocabularySize: try configuration.integer("vocab_size", default: 262_208),
            hiddenSize: hiddenSize,
            intermediateSize: try configuration.integer("intermediate_size", default: 9216),
            queryHeads: try configuration.integer("num_attention_heads", default: 8),
            keyValueHeads: try configuration.integer("num_key_value_heads", default: 4),
            headDimension: try configuration.integer("head_dim", default: 256),
            layers: try configuration.layerSpecs(window: window),
            normPlacement: .sandwich,
            normWeightOffset: 1,
            normEpsilon: Float(try configuration.values.number("rms_norm_eps", default: 1e-6, in: 0...1)),
            hasQueryKeyNorm: true,
            activation: .geluTanh,
            attentionScale: 1 / Float(try configuration.values.number("query_pre_attn_scalar", default: 256, in: 1e-6...1e9)).squareRoot(),
            embeddingScale: Float(hiddenSize).squareRoot(),
            isBidirectional: isBidirectional,
            hasTiedHead: try configuration.tiesWordEmbeddings(default: true),
            maximumPositions: try configuration.integer("max_position_embeddings", default: 131_072))
        try spec.validate()
        return spec
    }

    package static func tensorNames(for spec: TransformerSpec) -> TensorNames {
        TensorNames(
            prefixes: ["model.", "", "language_model.model.", "model.language_model."],
            heads: ["lm_head.weight", "language_model.lm_head.weight"],
            attentionOutputNorm: "post_attention_layernorm.weight",
            feedForwardNorm: "pre_feedforward_layernorm.weight",
            feedForwardOutputNorm: "post_feedforward_layernorm.weight",
            foreignPrefixes: ["vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector."])
    }

    package static func defaultPooling(for spec: TransformerSpec) -> EncoderHead.Pooling {
        spec.isBidirectional ? .mean : .lastToken
    }
}
