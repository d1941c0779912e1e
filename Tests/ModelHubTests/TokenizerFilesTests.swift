import Foundation
import ModelHub
import OrderedCollections
import Testing

@Suite struct ChatTemplateFilesTests {
    private func read(_ files: [String: String]) throws -> ChatTemplateFiles {
        try ChatTemplateFiles(folder: ModelFolder(files: files.mapValues { Data($0.utf8) }, name: "tiny"))
    }

    @Test func prefersTheTemplateFile() throws {
        var files = ["tokenizer_config.json": #"{"chat_template": "from config"}"#]
        #expect(try read(files).text() == "from config")
        files["chat_template.json"] = #"{"chat_template": "from json"}"#
        #expect(try read(files).text() == "from json")
        files["chat_template.jinja"] = "from jinja\n"
        #expect(try read(files).text() == "from jinja\n")
        #expect(try read(files).text(withTools: true) == "from jinja\n")
        files["chat_templates/tool_use.jinja"] = "with tools"
        #expect(try read(files).text(withTools: true) == "with tools")
        #expect(try read(files).templates.keys == ["default", "tool_use"])
    }

    @Test func readsNamedTemplates() throws {
        let list =
            #"{"chat_template": [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}, {"name": "rag", "template": "r"}]}"#
        let found = try read(["tokenizer_config.json": list])
        #expect(try found.text() == "d" && found.text(withTools: true) == "t" && found.templates["rag"] == "r")
        let nameless = try read(["tokenizer_config.json": #"{"chat_template": [{"name": "rag", "template": "r"}]}"#])
        #expect(try #require(throws: ModelHubError.self) { try nameless.text() }.message.contains("there are rag"))
    }

    @Test func isEmptyWithoutATemplate() throws {
        #expect(try read([:]).text() == nil)
        #expect(try read(["tokenizer_config.json": #"{"chat_template": null}"#]).text() == nil)
    }

    @Test(arguments: [#"{"chat_template": 5}"#, #"{"chat_template": [5]}"#, #"{"chat_template": [{"name": "x"}]}"#, "[]", "{"])
    func refusesWhatIsNoTemplate(text: String) throws {
        #expect(try #require(throws: ModelHubError.self) { try read(["tokenizer_config.json": text]) }.code == .invalidFile)
    }

    @Test func refusesBrokenText() throws {
        let folder = ModelFolder(files: ["chat_template.jinja": Data([0x7B, 0xFF])], name: "tiny")
        #expect(try #require(throws: ModelHubError.self) { try ChatTemplateFiles(folder: folder) }.message.contains("UTF-8"))
    }
}

@Suite struct TokenizerConfigurationTests {
    private func read(_ text: String?) throws -> TokenizerConfiguration {
        try TokenizerConfiguration(folder: ModelFolder(files: text.map { ["tokenizer_config.json": Data($0.utf8)] } ?? [:], name: "tiny"))
    }

    @Test func readsTokensAndLimit() throws {
        let found = try read(
            #"{"bos_token": null, "eos_token": {"content": "<eos>", "lstrip": false}, "pad_token": "<pad>", "model_max_length": 32768, "add_eos_token": true}"#
        )
        #expect(found.specialTokens == ["eos_token": "<eos>", "pad_token": "<pad>"])
        #expect(found.maximumLength == 32768 && found.addsEndToken == true && found.addsBeginningToken == nil)
    }

    @Test(arguments: ["1000000000000000019884624838656", "1e30", "0", "null"])
    func takesAHugeLimitForNone(value: String) throws {
        #expect(try read("{\"model_max_length\": \(value)}").maximumLength == nil)
    }

    @Test(arguments: [#"{"bos_token": 5}"#, #"{"eos_token": {}}"#, #"{"model_max_length": "long"}"#, #"{"model_max_length": -1}"#])
    func refusesWhatCannotBe(text: String) throws {
        #expect(try #require(throws: ModelHubError.self) { try read(text) }.code == .invalidFile)
    }

    @Test func anAbsentFileIsEmpty() throws {
        #expect(try read(nil).specialTokens.isEmpty)
    }
}
