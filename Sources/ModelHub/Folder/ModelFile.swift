/// The names of a model's files, and which names are safe to follow.
package enum ModelFile {
    package static let configuration = "config.json"
    package static let generation = "generation_config.json"
    package static let tokenizer = "tokenizer.json"
    package static let tokenizerConfiguration = "tokenizer_config.json"
    package static let chatTemplate = "chat_template.jinja"
    package static let chatTemplateJSON = "chat_template.json"
    package static let chatTemplateFolder = "chat_templates"
    package static let modules = "modules.json"
    package static let sentenceTransformers = "config_sentence_transformers.json"
    package static let weights = "model.safetensors"
    package static let weightsIndex = "model.safetensors.index.json"

    /// True for a path that stays below the folder it is joined to: relative, with no empty, `.` or `..` component and no control character.
    ///
    /// File names come from strangers (a hub's list, a shard index, modules.json); every one passes here before it touches the disk.
    package static func isSafe(_ path: String) -> Bool {
        guard !path.isEmpty, path.utf8.count <= 1024, !path.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F }) else {
            return false
        }
        return path.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { component in
            !component.isEmpty && component != "." && component != ".." && component.utf8.count <= 255
        }
    }
}

/// Which parts of a model a command needs; what it does not need is not fetched.
package struct ModelParts: OptionSet, Sendable {
    package let rawValue: Int

    package init(rawValue: Int) { self.rawValue = rawValue }

    /// config.json, the generation, pooling and prompt files, dense heads.
    package static let configuration = ModelParts(rawValue: 1)
    /// tokenizer.json, its configuration and the chat template.
    package static let tokenizer = ModelParts(rawValue: 2)
    /// The safetensors files and their index.
    package static let weights = ModelParts(rawValue: 4)
    package static let all: ModelParts = [.configuration, .tokenizer, .weights]
}
