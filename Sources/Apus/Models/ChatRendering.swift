package import ChatTemplates
package import JSON
package import ModelHub
import OrderedCollections

/// Renders conversations with a folder's chat template; needs no weights.
package struct ChatRendering: Sendable {
    private let name: String
    private let files: ChatTemplateFiles
    private let specialTokens: [(role: String, text: String)]

    package init(folder: ModelFolder) throws {
        name = folder.name
        files = try ChatTemplateFiles(folder: folder)
        specialTokens = try TokenizerConfiguration(folder: folder).specialTokens.map { ($0.key, $0.value) }
    }

    package var hasTemplate: Bool { !files.templates.isEmpty }

    /// The template, the one for tools where tools are given and the folder has one.
    package func template(withTools: Bool = false) throws -> ChatTemplate {
        guard let source = try files.text(withTools: withTools) else {
            throw ApusError(
                .missingFile, "\(name) has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json); use apus generate")
        }
        return try ChatTemplate(source)
    }

    /// - Parameter thinking: `enable_thinking` as Qwen3's template reads it; nil leaves it undefined.
    package func render(messages: [JSONValue], tools: JSONValue?, thinking: Bool?, addGenerationPrompt: Bool) throws -> String {
        var variables: JSONObject = [:]
        for (role, token) in specialTokens { variables[role] = .string(token) }
        if let thinking { variables["enable_thinking"] = .bool(thinking) }
        return try template(withTools: tools != nil).render(
            messages: messages, tools: tools, addGenerationPrompt: addGenerationPrompt, variables: variables)
    }
}
