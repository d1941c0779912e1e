import Apus
import Foundation

/// Folders of random weights, small enough for tests, each in a temporary place of its own.
enum TinyModel {
    static let decoder = """
        {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "dtype": "float32", "vocab_size": 300, "hidden_size": 32, "intermediate_size": 48,
         "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 160,
         "initializer_range": 0.3, "tie_word_embeddings": true, "eos_token_id": 299}
        """

    static let encoder = """
        {"architectures": ["Gemma3TextModel"], "model_type": "gemma3_text", "dtype": "bfloat16", "vocab_size": 400, "hidden_size": 24,
         "intermediate_size": 40, "num_hidden_layers": 6, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "sliding_window": 8,
         "query_pre_attn_scalar": 16, "max_position_embeddings": 64, "initializer_range": 0.2}
        """

    /// Runs `body` with the path of a folder made from `configuration`.
    static func withFolder<Result>(_ configuration: String, seed: UInt64 = 1, _ body: (String) async throws -> Result) async throws -> Result {
        let root = FileManager.default.temporaryDirectory.appendingPathComponent("apus-tiny-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: root) }
        try Data(configuration.utf8).write(to: URL(fileURLWithPath: root + "/config.json"))
        try FolderInitializer(configurationPath: root + "/config.json").write(to: root + "/model", seed: seed)
        return try await body(root + "/model")
    }
}
