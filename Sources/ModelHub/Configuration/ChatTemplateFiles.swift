import JSON
package import OrderedCollections

/// The text of a model's chat templates, wherever its folder keeps it.
///
/// In this order: `chat_template.jinja` with the further ones of `chat_templates/`; `chat_template.json`; `chat_template` of tokenizer_config.json, which is
/// one text or a list of named ones.
package struct ChatTemplateFiles: Sendable, Equatable {
    /// The templates by name; the one for everyday use is called `default`.
    package private(set) var templates: OrderedDictionary<String, String> = [:]
    /// The file they come from, for messages.
    package private(set) var source = ""

    package init(folder: ModelFolder) throws(ModelHubError) {
        if folder.contains(ModelFile.chatTemplate) {
            templates["default"] = try Self.text(of: ModelFile.chatTemplate, in: folder)
            source = folder.describe(ModelFile.chatTemplate)
        }
        for name in folder.fileNames(in: ModelFile.chatTemplateFolder) where name.hasSuffix(".jinja") {
            let file = ModelFile.chatTemplateFolder + "/" + name
            templates[String(name.dropLast(6))] = try Self.text(of: file, in: folder)
            if source.isEmpty { source = folder.describe(file) }
        }
        for file in [ModelFile.chatTemplateJSON, ModelFile.tokenizerConfiguration] where templates.isEmpty && folder.contains(file) {
            try read(try ConfigurationObject(reading: file, of: folder))
        }
    }

    /// The template for a conversation, or nil where the model has none: with tools the one called `tool_use` where there is one, else `default`.
    package func text(withTools: Bool = false) throws(ModelHubError) -> String? {
        guard !templates.isEmpty else { return nil }
        if withTools, let text = templates["tool_use"] { return text }
        guard let text = templates["default"] else {
            throw ModelHubError(
                .invalidFile, "\(source): no chat template is called 'default'; there are \(templates.keys.joined(separator: ", "))")
        }
        return text
    }

    private mutating func read(_ file: ConfigurationObject) throws(ModelHubError) {
        guard let value = file.value("chat_template") else { return }
        source = file.file
        if let text = value.stringValue {
            templates["default"] = text
            return
        }
        guard let entries = value.arrayValue else {
            throw file.invalid("chat_template", expected: "a string or a list of objects with \"name\" and \"template\"", found: value)
        }
        for entry in entries {
            guard let name = entry["name"]?.stringValue, let text = entry["template"]?.stringValue else {
                throw file.invalid("chat_template", expected: "a list of objects with \"name\" and \"template\"", found: entry)
            }
            templates[name] = text
        }
    }

    private static func text(of file: String, in folder: ModelFolder) throws(ModelHubError) -> String {
        let bytes = try folder.bytes(of: file, maximumByteCount: 4 << 20)
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ModelHubError(.invalidFile, "\(folder.describe(file)): the template is not valid UTF-8")
        }
        return text
    }
}
