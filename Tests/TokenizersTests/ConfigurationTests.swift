import JSON
import Testing
import Tokenizers

@Suite struct ConfigurationTests {
    private func read(_ json: String) throws -> TokenizerConfiguration { try TokenizerConfiguration(json: Array(json.utf8)) }

    @Test func readsTokensOfBothForms() throws {
        let configuration = try read(
            #"{"bos_token":"<s>","eos_token":{"content":"</s>","lstrip":false,"special":true},"pad_token":null,"add_bos_token":true,"tokenizer_class":"X","other":[1]}"#
        )
        #expect(configuration.beginningOfSequenceToken == "<s>")
        #expect(configuration.endOfSequenceToken == "</s>")
        #expect(configuration.paddingToken == nil)
        #expect(configuration.unknownToken == nil)
        #expect(configuration.addsBeginningOfSequence == true)
        #expect(configuration.addsEndOfSequence == nil)
        #expect(configuration.tokenizerClass == "X")
        #expect(configuration.values["other"]?.arrayValue?.count == 1)
    }

    @Test func readsLengths() throws {
        #expect(try read(#"{"model_max_length":32768}"#).maximumLength == 32768)
        #expect(try read(#"{"model_max_length":1e30}"#).maximumLength == nil)
        #expect(try read(#"{"model_max_length":1000000000000000019884624838656}"#).maximumLength == nil)
        #expect(try read(#"{}"#).maximumLength == nil)
        #expect(throws: TokenizerError.self) { try read(#"{"model_max_length":-5}"#) }
        #expect(throws: TokenizerError.self) { try read(#"{"model_max_length":"many"}"#) }
    }

    @Test func readsTemplates() throws {
        #expect(try read(#"{"chat_template":"{{ x }}"}"#).chatTemplate == "{{ x }}")
        let list = try read(#"{"chat_template":[{"name":"tool_use","template":"T"},{"name":"default","template":"D"}]}"#)
        #expect(list.chatTemplate == "D")
        #expect(list.namedChatTemplates.map(\.name) == ["tool_use", "default"])
        #expect(try read(#"{"chat_template":[{"name":"rag","template":"R"}]}"#).chatTemplate == "R")
        #expect(throws: TokenizerError.self) { try read(#"{"chat_template":[{"name":"rag"}]}"#) }
        #expect(throws: TokenizerError.self) { try read(#"{"chat_template":7}"#) }
    }

    @Test func namesTheFault() {
        #expect { try read(#"{"eos_token":{"text":"x"}}"#) } throws: { "\($0)".contains("eos_token: 'content' is missing") }
        #expect { try read(#"[1]"#) } throws: { "\($0)".contains("expected an object") }
        #expect { try read(#"{"add_bos_token":"yes"}"#) } throws: { "\($0)".contains("add_bos_token") }
        #expect(throws: TokenizerError.self) { try read("{") }
    }
}
