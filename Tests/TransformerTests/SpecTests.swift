import Foundation
import ModelHub
import Testing
import Transformer

@Suite struct SpecTests {
    private func spec(_ json: String) throws -> TransformerSpec {
        let configuration = try ModelConfiguration(parsing: Array(json.utf8))
        return try ModelFamilies.family(of: configuration).spec(from: configuration)
    }

    @Test func presetsHaveTheirPublishedSizes() throws {
        func parameters(_ name: String) throws -> Int { try spec(#require(Preset.named(name)).configuration).parameterCount }
        #expect(try parameters("qwen3-0.6b") == 596_049_920)
        #expect(try parameters("harrier-270m") == 268_098_176)
        #expect(try parameters("embeddinggemma-300m") == 302_863_104)
    }

    @Test func gemmaPresetReadsAsGemma() throws {
        let spec = try spec(#require(Preset.named("harrier-270m")).configuration)
        #expect(spec.layers.count == 18)
        #expect(spec.layers.indices.filter { spec.layers[$0].window == nil } == [5, 11, 17])
        #expect(spec.layers[0].window == 512)
        #expect(spec.layers[0].rope.base == 10_000)
        #expect(spec.layers[5].rope.base == 1_000_000)
        #expect(spec.attentionScale == 0.0625)
        #expect(spec.normWeightOffset == 1)
        #expect(spec.normPlacement == .sandwich)
    }

    @Test func aTwoSidedWindowReachesHalfItsWidth() throws {
        let spec = try spec(#require(Preset.named("embeddinggemma-300m")).configuration)
        #expect(spec.isBidirectional)
        #expect(spec.layers[0].window == 257)
    }

    /// A small valid configuration with one member changed.
    private func changed(_ key: String, _ value: String) throws -> TransformerSpec {
        var members = [
            "model_type": "\"qwen3\"", "vocab_size": "10", "hidden_size": "8", "intermediate_size": "8", "num_hidden_layers": "1",
            "num_attention_heads": "4", "num_key_value_heads": "2", "head_dim": "8",
            "max_position_embeddings": "64",
        ]
        if value.contains("gemma3_text") { members["sliding_window"] = "4" }
        members[key] = value
        return try spec("{" + members.map { "\"\($0.key)\": \($0.value)" }.joined(separator: ", ") + "}")
    }

    @Test func theUnchangedConfigurationIsValid() throws {
        #expect(try changed("hidden_size", "8").queryHeads == 4)
        #expect(try changed("model_type", #""gemma3_text""#).normPlacement == .sandwich)
    }

    @Test(arguments: [
        ("model_type", #""llama""#, "llama"),
        ("num_attention_heads", "3", "3 query heads"),
        ("head_dim", "7", "head dimension is 7"),
        ("attention_bias", "true", "attention_bias"),
        ("hidden_act", #""gelu""#, "gelu"),
        ("rope_scaling", #"{"rope_type": "yarn", "factor": 4}"#, "yarn"),
        ("rope_parameters", #"{"rope_type": "default", "rope_theta": -1}"#, "rope_theta"),
        ("partial_rotary_factor", "0.5", "partial_rotary_factor"),
        ("vocab_size", "-5", "-5"),
        ("vocab_size", "1099511627776", "1099511627776"),
        ("vocab_size", "\"many\"", "vocab_size"),
        ("vocab_size", "null", "vocab_size"),
        ("num_hidden_layers", "100000", "num_hidden_layers"),
        ("layer_types", #"["full_attention", "full_attention"]"#, "layer_types"),
        ("layer_types", #"["linear_attention"]"#, "linear_attention"),
    ])
    func refusesByName(key: String, value: String, word: String) {
        let error = #expect(throws: (any Error).self) { try changed(key, value) }
        let message = error.map { String(describing: $0) } ?? ""
        #expect(message.contains(word))
    }

    @Test func softCappingIsRefused() {
        #expect(throws: TransformerError.self) {
            try spec(#"{"model_type": "gemma3_text", "num_hidden_layers": 2, "final_logit_softcapping": 30.0}"#)
        }
    }
}
