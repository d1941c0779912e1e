import Foundation
import ModelHub
import OrderedCollections
import Testing

@Suite struct GenerationConfigurationTests {
    private func read(
        _ generation: String?, _ configuration: String = #"{"model_type": "qwen3", "eos_token_id": 151645}"#
    ) throws -> GenerationConfiguration {
        var files = ["config.json": Data(configuration.utf8)]
        if let generation { files["generation_config.json"] = Data(generation.utf8) }
        let folder = ModelFolder(files: files, name: "tiny")
        return try GenerationConfiguration(folder: folder, configuration: ModelConfiguration(folder: folder))
    }

    @Test func readsQwensFile() throws {
        let found = try read(
            #"{"bos_token_id": 151643, "do_sample": true, "eos_token_id": [151645, 151643], "pad_token_id": 151643, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "transformers_version": "4.51.0"}"#
        )
        var expected = GenerationConfiguration()
        expected.eosTokenIDs = [151645, 151643]
        expected.bosTokenID = 151643
        expected.padTokenID = 151643
        expected.doSample = true
        expected.temperature = 0.6
        expected.topK = 20
        expected.topP = 0.95
        #expect(found == expected)
    }

    @Test func fallsBackToTheConfiguration() throws {
        #expect(try read(nil).eosTokenIDs == [151645])
        #expect(try read(#"{"temperature": 0}"#).eosTokenIDs == [151645])
        #expect(try read(#"{"eos_token_id": 3}"#).eosTokenIDs == [3])
        let nested = #"{"model_type": "gemma3", "eos_token_id": [1, 106], "pad_token_id": 0, "text_config": {"bos_token_id": 2}}"#
        let found = try read(nil, nested)
        #expect(found.eosTokenIDs == [1, 106] && found.bosTokenID == 2 && found.padTokenID == 0)
        #expect(try read(nil, #"{"model_type": "qwen3"}"#).eosTokenIDs == [])
    }

    @Test func readsTheRareKeys() throws {
        let found = try read(
            #"{"min_p": 0.05, "repetition_penalty": 1.1, "max_new_tokens": 9, "max_length": 99, "stop_strings": ["a", "b"], "top_k": null}"#
        )
        #expect(found.minP == 0.05 && found.repetitionPenalty == 1.1 && found.maxNewTokens == 9 && found.maxLength == 99)
        #expect(found.stopStrings == ["a", "b"] && found.topK == nil)
        #expect(try read(#"{"stop_strings": "x"}"#).stopStrings == ["x"])
    }

    @Test(arguments: [
        #"{"temperature": -1}"#, #"{"temperature": "hot"}"#, #"{"temperature": 1e999}"#, #"{"top_p": 1.5}"#, #"{"top_k": -1}"#,
        #"{"top_k": 1.5}"#,
        #"{"min_p": -0.1}"#, #"{"repetition_penalty": 0}"#, #"{"eos_token_id": "x"}"#, #"{"eos_token_id": [1, -2]}"#,
        #"{"eos_token_id": {}}"#,
        #"{"do_sample": 1}"#, #"{"max_new_tokens": 1e30}"#, #"{"stop_strings": [1]}"#, "[]", "{",
    ])
    func refusesWhatCannotBe(text: String) throws {
        let error = try #require(throws: ModelHubError.self) { try read(text) }
        #expect(error.code == .invalidFile)
        #expect(error.message.hasPrefix("generation_config.json of the model tiny"), "\(error)")
    }
}
