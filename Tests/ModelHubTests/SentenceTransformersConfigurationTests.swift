import Foundation
import ModelHub
import OrderedCollections
import Testing

@Suite struct SentenceTransformersConfigurationTests {
    static let modules = """
        [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
         {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
         {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
         {"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.base.modules.dense.Dense"},
         {"idx": 4, "name": "4", "path": "4_Normalize", "type": "sentence_transformers.models.Normalize"}]
        """

    /// EmbeddingGemma's shape, with `changes` over it; nil takes a file away.
    private func read(_ changes: [String: String?] = [:]) throws -> SentenceTransformersConfiguration? {
        var files = [
            "modules.json": Self.modules,
            "1_Pooling/config.json":
                #"{"word_embedding_dimension": 8, "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": false, "include_prompt": true}"#,
            "2_Dense/config.json":
                #"{"in_features": 8, "out_features": 32, "bias": false, "activation_function": "torch.nn.modules.linear.Identity"}"#,
            "2_Dense/model.safetensors": "",
            "3_Dense/config.json":
                #"{"in_features": 32, "out_features": 8, "bias": true, "activation_function": "torch.nn.modules.activation.Tanh"}"#,
            "3_Dense/model.safetensors": "",
            "sentence_bert_config.json": #"{"max_seq_length": 2048, "do_lower_case": false}"#,
            "config_sentence_transformers.json":
                #"{"prompts": {"query": "task: search result | query: ", "document": "title: none | text: "}, "default_prompt_name": null, "similarity_fn_name": "cosine"}"#,
        ]
        for (file, text) in changes { files[file] = text }
        return try SentenceTransformersConfiguration(folder: ModelFolder(files: files.mapValues { Data($0.utf8) }, name: "tiny"))
    }

    @Test func readsAWholeFolder() throws {
        let found = try #require(try read())
        #expect(found.transformerPath == "" && found.pooling == .mean && found.poolsPrompt)
        #expect(
            found.steps == [
                .dense(
                    .init(
                        inputFeatures: 8, outputFeatures: 32, hasBias: false, activation: .identity,
                        weightsFile: "2_Dense/model.safetensors")),
                .dense(
                    .init(inputFeatures: 32, outputFeatures: 8, hasBias: true, activation: .tanh, weightsFile: "3_Dense/model.safetensors")),
                .normalize,
            ])
        #expect(found.normalizes && found.denseLayers.count == 2)
        #expect(found.maximumSequenceLength == 2048 && !found.lowercases)
        #expect(found.prompts.keys == ["query", "document"] && found.prompts["query"] == "task: search result | query: ")
        #expect(found.defaultPromptName == nil && found.similarity == .cosine)
    }

    @Test func isNilWithoutModules() throws {
        #expect(try read(["modules.json": nil]) == nil)
    }

    @Test func theOptionalFilesAreOptional() throws {
        let found = try #require(try read(["sentence_bert_config.json": nil, "config_sentence_transformers.json": nil]))
        #expect(found.maximumSequenceLength == nil && found.prompts.isEmpty && found.similarity == .cosine)
    }

    @Test(arguments: [
        (#"{"pooling_mode": "lasttoken", "embedding_dimension": 8}"#, "lasttoken"), (#"{"pooling_mode": ["mean"]}"#, "mean"),
        (#"{"pooling_mode": "cls"}"#, "cls"), (#"{"pooling_mode_lasttoken": true, "word_embedding_dimension": 8}"#, "lasttoken"),
        (#"{"pooling_mode_mean_tokens": false, "pooling_mode_lasttoken": true}"#, "lasttoken"),
        (#"{"pooling_mode_cls_token": true}"#, "cls"),
        ("{}", "mean"), (#"{"pooling_mode": "lasttoken", "pooling_mode_mean_tokens": true}"#, "lasttoken"),
    ])
    func readsBothSpellingsOfPooling(text: String, mode: String) throws {
        #expect(try read(["1_Pooling/config.json": text])?.pooling.rawValue == mode)
    }

    @Test(arguments: [
        (#"{"pooling_mode": "max"}"#, "'max'"), (#"{"pooling_mode_max_tokens": true}"#, "'max'"),
        (#"{"pooling_mode_mean_tokens": true, "pooling_mode_lasttoken": true}"#, "'mean + lasttoken'"),
        (#"{"pooling_mode_weightedmean_tokens": true}"#, "'weightedmean'"), (#"{"pooling_mode": ["mean", "max"]}"#, "'mean + max'"),
        (#"{"pooling_mode_mean_sqrt_len_tokens": true}"#, "'mean_sqrt_len_tokens'"), (#"{"pooling_mode": []}"#, "''"),
    ])
    func refusesOtherPooling(text: String, names: String) throws {
        let error = try #require(throws: ModelHubError.self) { try read(["1_Pooling/config.json": text]) }
        #expect(error.code == .unsupported)
        #expect(error.message.contains(names) && error.message.contains("1_Pooling/config.json"), "\(error)")
    }

    @Test func leavesThePromptOutWhereAsked() throws {
        #expect(try read(["1_Pooling/config.json": #"{"pooling_mode": "mean", "include_prompt": false}"#])?.poolsPrompt == false)
    }

    @Test(arguments: [
        ("2_Dense/config.json", #"{"in_features": 9, "out_features": 32, "bias": false}"#, "in_features is 9"),
        (
            "2_Dense/config.json", #"{"in_features": 8, "out_features": 32, "activation_function": "torch.nn.modules.activation.GELU"}"#,
            "GELU"
        ),
        ("2_Dense/config.json", #"{"in_features": 8, "out_features": 32, "use_residual": true}"#, "use_residual"),
        ("2_Dense/config.json", #"{"in_features": 8, "out_features": 32, "module_input_name": "token_embeddings"}"#, "module_input_name"),
        ("2_Dense/config.json", #"{"in_features": -8, "out_features": 32}"#, "in_features"), ("2_Dense/config.json", "[]", "an object"),
        ("4_Normalize/config.json", #"{"module_input_name": "token_embeddings"}"#, "token_embeddings"),
        ("config_sentence_transformers.json", #"{"prompts": {"a": "b"}, "default_prompt_name": "query"}"#, "'query'"),
        ("config_sentence_transformers.json", #"{"prompts": {"a": 5}}"#, "prompts.a"),
        ("config_sentence_transformers.json", #"{"prompts": []}"#, "prompts"),
        ("config_sentence_transformers.json", #"{"similarity_fn_name": "jaccard"}"#, "jaccard"),
        ("sentence_bert_config.json", #"{"max_seq_length": 0}"#, "max_seq_length"),
        ("modules.json", "{}", "a list"), ("modules.json", "[]", "a Transformer and a Pooling"), ("modules.json", "[5]", "module 0"),
        ("modules.json", #"[{"path": "", "type": "x.Transformer"}]"#, "a Transformer and a Pooling"),
        ("modules.json", #"[{"path": "", "type": "x.Transformer"}, {"path": "../1_Pooling", "type": "x.Pooling"}]"#, "leads out"),
        ("modules.json", #"[{"path": "/etc", "type": "x.Transformer"}]"#, "leads out"),
        ("modules.json", #"[{"path": "", "type": "x.Transformer"}, {"path": "1_LSTM", "type": "x.LSTM"}]"#, "'LSTM'"),
        (
            "modules.json", #"[{"path": "1_Pooling", "type": "x.Pooling"}, {"path": "", "type": "x.Transformer"}]"#,
            "must be the Transformer"
        ),
        ("modules.json", #"[{"path": "", "type": "x.Transformer"}, {"path": "2_Dense", "type": "x.Dense"}]"#, "behind Pooling"),
        ("modules.json", #"[{"path": "", "type": "x.Transformer"}, {"path": "", "type": "x.Pooling"}]"#, "needs a path"),
    ])
    func refusesWhatItWouldComputeWrongly(file: String, text: String, names: String) throws {
        let error = try #require(throws: ModelHubError.self) { try read([file: text]) }
        #expect(error.message.contains(names), "\(error)")
    }

    @Test func saysThatPickledHeadsAreNotRead() throws {
        let error = try #require(throws: ModelHubError.self) {
            try read(["2_Dense/model.safetensors": nil, "2_Dense/pytorch_model.bin": ""])
        }
        #expect(error.code == .notFound && error.message.contains("pytorch_model.bin"), "\(error)")
    }
}
