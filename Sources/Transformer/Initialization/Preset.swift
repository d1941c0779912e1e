/// A published model's shape under a short name, for folders with random weights.
public struct Preset: Sendable {
    public let name: String
    /// One line for help texts.
    public let summary: String
    /// `config.json` as transformers writes it.
    package let configuration: String
    /// Whether the folder is to be used for vectors, and how they are pooled.
    package let pooling: EncoderHead.Pooling?
    /// Output sizes of the dense layers behind the pooling.
    package let denseSizes: [Int]

    public static let all: [Preset] = [qwen3Small, harrierSmall, qwen3EmbeddingSmall, embeddingGemma]

    public static func named(_ name: String) -> Preset? { all.first { $0.name == name } }

    /// Qwen/Qwen3-0.6B
    static let qwen3Small = Preset(
        name: "qwen3-0.6b", summary: "Qwen3-0.6B: 28 layers, hidden 1024, 16/8 heads of 128, vocabulary 151,936",
        configuration: qwen3Configuration(architecture: "Qwen3ForCausalLM", vocabulary: 151_936, positions: 40_960), pooling: nil, denseSizes: [])

    /// Qwen/Qwen3-Embedding-0.6B
    static let qwen3EmbeddingSmall = Preset(
        name: "qwen3-embedding-0.6b", summary: "Qwen3-Embedding-0.6B: as qwen3-0.6b, vocabulary 151,669, last-token pooling",
        configuration: qwen3Configuration(architecture: "Qwen3Model", vocabulary: 151_669, positions: 32_768), pooling: .lastToken, denseSizes: [])

    /// microsoft/harrier-oss-v1-270m, which has the shape of google/gemma-3-270m
    static let harrierSmall = Preset(
        name: "harrier-270m", summary: "Harrier 270m (Gemma 3): 18 layers, hidden 640, 4/1 heads of 256, window 512, last-token pooling",
        configuration: gemma3Configuration(
            hidden: 640, intermediate: 2048, layers: 18, queryHeads: 4, positions: 32_768, isBidirectional: false),
        pooling: .lastToken, denseSizes: [])

    /// google/embeddinggemma-300m
    static let embeddingGemma = Preset(
        name: "embeddinggemma-300m",
        summary: "EmbeddingGemma 300m: 24 layers, hidden 768, 3/1 heads of 256, bidirectional, mean pooling, two dense layers",
        configuration: gemma3Configuration(
            hidden: 768, intermediate: 1152, layers: 24, queryHeads: 3, positions: 2048, isBidirectional: true),
        pooling: .mean, denseSizes: [3072, 768])

    private static func qwen3Configuration(architecture: String, vocabulary: Int, positions: Int) -> String {
        """
        {
          "architectures": ["\(architecture)"],
          "attention_bias": false,
          "bos_token_id": 151643,
          "dtype": "bfloat16",
          "eos_token_id": 151645,
          "head_dim": 128,
          "hidden_act": "silu",
          "hidden_size": 1024,
          "initializer_range": 0.02,
          "intermediate_size": 3072,
          "max_position_embeddings": \(positions),
          "max_window_layers": 28,
          "model_type": "qwen3",
          "num_attention_heads": 16,
          "num_hidden_layers": 28,
          "num_key_value_heads": 8,
          "rms_norm_eps": 1e-06,
          "rope_parameters": {"rope_theta": 1000000, "rope_type": "default"},
          "tie_word_embeddings": true,
          "use_sliding_window": false,
          "vocab_size": \(vocabulary)
        }

        """
    }

    private static func gemma3Configuration(
        hidden: Int, intermediate: Int, layers: Int, queryHeads: Int, positions: Int, isBidirectional: Bool
    ) -> String {
        let types = (1...layers).map { $0 % 6 == 0 ? "\"full_attention\"" : "\"sliding_attention\"" }.joined(separator: ", ")
        return """
            {
              "architectures": ["Gemma3TextModel"],
              "attention_bias": false,
              "bos_token_id": 2,
              "dtype": "bfloat16",
              "eos_token_id": 1,
              "head_dim": 256,
              "hidden_activation": "gelu_pytorch_tanh",
              "hidden_size": \(hidden),
              "initializer_range": 0.02,
              "intermediate_size": \(intermediate),
              "layer_types": [\(types)],
              "max_position_embeddings": \(positions),
              "model_type": "gemma3_text",
              "num_attention_heads": \(queryHeads),
              "num_hidden_layers": \(layers),
              "num_key_value_heads": 1,
              "pad_token_id": 0,
              "query_pre_attn_scalar": 256,
              "rms_norm_eps": 1e-06,
              "rope_parameters": {
                "full_attention": {"rope_theta": 1000000.0, "rope_type": "default"},
                "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"}
              },
              "sliding_window": 512,
              "tie_word_embeddings": true,
              "use_bidirectional_attention": \(isBidirectional),
              "vocab_size": 262144
            }

            """
    }
}
