import ChatTemplates
import Foundation
import JSON
import OrderedCollections
import Testing

@Suite("Conversations render as under transformers")
struct ConversationTests {
    private static let styleNames = ["gemma-style", "hermes-style", "llama-style", "mistral-style", "thinking-style"]

    @Test("in templates of many styles", arguments: styleNames)
    func inStyle(_ style: String) throws {
        let goldens = try Goldens.read("conversations.json")
        let template = try ChatTemplate(Goldens.text("templates/\(style).jinja"), clock: Goldens.clock)
        let conversations = try #require(goldens["conversations"]?.arrayValue)
        let expected = try #require(goldens["rendered"]?[style]?.arrayValue)
        try #require(conversations.count == expected.count)
        for (index, (conversation, wanted)) in zip(conversations, expected).enumerated() {
            if let difference = try render(conversation, by: template).difference(from: wanted, isComplete: true) {
                Issue.record("conversation \(index): \(difference)")
            }
        }
    }

    @Test(
        "in Qwen3's own template",
        .enabled(if: Goldens.qwen3Configuration != nil, "../shared/data/qwen3-tokenizer/tokenizer_config.json is not there"))
    func qwen3() throws {
        try compareFingerprints(try Goldens.read("qwen3-fingerprints.json"), configuration: try #require(Goldens.qwen3Configuration))
    }

    @Test(
        "in Qwen3's own template, more of them",
        .enabled(
            if: Goldens.qwen3Configuration != nil && JinjaParityTests.casesPath("APUS_CONVERSATION_CASES") != nil,
            "APUS_CONVERSATION_CASES names no file; make_goldens.py --conversations writes one"))
    func moreQwen3() throws {
        let path = try #require(JinjaParityTests.casesPath("APUS_CONVERSATION_CASES"))
        try compareFingerprints(try Goldens.json(at: URL(fileURLWithPath: path)), configuration: try #require(Goldens.qwen3Configuration))
    }

    private func compareFingerprints(_ goldens: JSONValue, configuration: URL) throws {
        let source = try #require(try Goldens.json(at: configuration)["chat_template"]?.stringValue)
        let template = try ChatTemplate(source)
        let conversations = try #require(goldens["conversations"]?.arrayValue)
        let fingerprints = try #require(goldens["fingerprints"]?.arrayValue)
        try #require(conversations.count == fingerprints.count)
        for (index, (conversation, wanted)) in zip(conversations, fingerprints).enumerated() {
            switch try render(conversation, by: template) {
            case .text(let text): #expect(JSONValue.string(Goldens.fingerprint(text)) == wanted, "conversation \(index): \(text)")
            case .failure(let error): #expect(wanted == .null, "conversation \(index): \(error)")
            }
        }
    }

    private func render(_ conversation: JSONValue, by template: ChatTemplate) throws -> Outcome {
        let messages = try #require(conversation["messages"]?.arrayValue)
        let variables = try #require(conversation["variables"]?.objectValue)
        let addsPrompt = conversation["addGenerationPrompt"] == .bool(true)
        return Outcome { () throws(ChatTemplateError) in
            try template.render(messages: messages, tools: conversation["tools"], addGenerationPrompt: addsPrompt, variables: variables)
        }
    }

    @Test("reasoning is found under each of its names")
    func reasoningNames() throws {
        let template = try ChatTemplate("{% for m in messages %}{{ m.reasoning_content }}|{{ m.thinking }}|{{ m|list }};{% endfor %}")
        let names = ["reasoning_content", "thinking", "reasoning"]
        let messages: [JSONValue] = names.map { .object(["role": .string("assistant"), $0: .string("why")]) }
        #expect(
            try template.render(messages: messages) == """
                why|why|['thinking', 'role', 'reasoning_content'];why|why|['thinking', 'role', 'reasoning_content'];\
                why|why|['thinking', 'role', 'reasoning', 'reasoning_content'];
                """)
    }

    @Test("what the caller passes wrongly is said without a line")
    func contextFaults() throws {
        let template = try ChatTemplate("{{ messages }}")
        let notAnObject = #expect(throws: ChatTemplateError.self) { try template.render(messages: [.string("hi")]) }
        #expect(notAnObject?.code == .context && notAnObject?.line == nil)
        let taken = #expect(throws: ChatTemplateError.self) { try template.render(messages: [], variables: ["tools": .null]) }
        #expect(taken?.code == .context)
        #expect(try ChatTemplate("{{ documents }}{{ tools }}").render(messages: [], variables: ["documents": .array([])]) == "[]None")
    }
}
