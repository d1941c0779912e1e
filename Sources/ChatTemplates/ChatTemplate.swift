public import JSON
public import OrderedCollections

/// The chat template of a model folder: turns a conversation into the text that the model was trained on.
///
/// Variables and their order are those of `apply_chat_template` in `transformers`: `messages`, `tools`, `documents`, `add_generation_prompt`,
/// and whatever else the caller passes, such as `bos_token`, `eos_token` or `enable_thinking`.
public struct ChatTemplate: Sendable {
    private let template: Template

    public init(_ source: String, limits: TemplateLimits = TemplateLimits(), clock: TemplateClock = .system) throws(ChatTemplateError) {
        template = try Template(source, limits: limits, clock: clock)
    }

    /// Renders a conversation.
    ///
    /// - Parameters:
    ///   - messages: objects with `role` and, as a rule, `content`. A message's reasoning may stand under `reasoning_content`, `thinking` or
    ///     `reasoning`; it is handed to the template under the first of these names, and under `thinking` too where that is absent.
    ///   - tools: an array of function descriptions, or nil, which the template sees as none.
    ///   - addGenerationPrompt: whether the text ends where the assistant's answer begins.
    ///   - variables: further variables; `messages`, `tools` and `add_generation_prompt` are not among them.
    /// - Throws: ``ChatTemplateError``; of code `raised` where the template itself refuses the conversation.
    public func render(
        messages: [JSONValue], tools: JSONValue? = nil, addGenerationPrompt: Bool = false, variables: JSONObject = [:]
    ) throws(ChatTemplateError) -> String {
        var context: JSONObject = [:]
        var aliased: [JSONValue] = []
        for (index, message) in messages.enumerated() {
            guard case .object(let members) = message else {
                throw ChatTemplateError(.context, line: nil, "message \(index) is a \(message.typeName), not an object")
            }
            aliased.append(.object(Self.namingReasoning(in: members)))
        }
        context["messages"] = .array(aliased)
        context["tools"] = tools ?? .null
        context["documents"] = .null
        context["add_generation_prompt"] = .bool(addGenerationPrompt)
        for (name, value) in variables {
            guard name == "documents" || context[name] == nil else {
                throw ChatTemplateError(.context, line: nil, "'\(name)' cannot be given among the further variables")
            }
            context[name] = value
        }
        return try template.render(context: context)
    }

    private static func namingReasoning(in message: JSONObject) -> JSONObject {
        let names = ["reasoning_content", "thinking", "reasoning"]
        guard let reasoning = names.lazy.compactMap({ message[$0] }).first(where: { !$0.isNull }) else { return message }
        var result: JSONObject = ["thinking": reasoning]
        for (name, value) in message { result[name] = value }
        result["reasoning_content"] = reasoning
        return result
    }
}
