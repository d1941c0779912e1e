/// Which files of a hub repository Apus reads.
///
/// Pickled, ONNX and GGUF weights, original-format copies and training state stay on the hub.
enum HubFileSelection {
    /// The files of `names` to fetch for `parts`, in the order of `names`.
    static func select(from names: [String], for parts: ModelParts) -> [String] {
        let rootWeights = rootWeightFiles(names)
        return names.filter { name in
            guard ModelFile.isSafe(name), !name.contains("\\") else { return false }
            let components = name.split(separator: "/")
            guard components.count <= 2, let file = components.last else { return false }
            if components.count == 1 {
                if file.hasSuffix(".safetensors") || name == ModelFile.weightsIndex {
                    return parts.contains(.weights) && rootWeights.contains(name)
                }
                if file.hasPrefix("tokenizer") || file.hasPrefix("chat_template") || file.hasSuffix(".jinja")
                    || tokenizerFiles.contains(name)
                {
                    return parts.contains(.tokenizer) && (file.hasSuffix(".json") || file.hasSuffix(".jinja"))
                }
                let isConfiguration = file.hasPrefix("config") || file.hasPrefix("sentence_") || configurationFiles.contains(name)
                return parts.contains(.configuration) && isConfiguration && file.hasSuffix(".json")
            }
            if components[0] == ModelFile.chatTemplateFolder { return parts.contains(.tokenizer) && file.hasSuffix(".jinja") }
            guard isModuleFolder(components[0]) else { return false }
            // A module's weights are a few megabytes and decide the vectors: they belong to the configuration.
            return parts.contains(.configuration) && (file.hasSuffix(".json") || file == ModelFile.weights)
        }
    }

    /// Files whose absence has a meaning, so that the cache should know of it.
    static func optionalFiles(for parts: ModelParts) -> [String] {
        var files: [String] = []
        if parts.contains(.configuration) {
            files += [ModelFile.generation, ModelFile.modules, ModelFile.sentenceTransformers, "sentence_bert_config.json"]
        }
        if parts.contains(.tokenizer) { files += [ModelFile.tokenizerConfiguration, ModelFile.chatTemplate] }
        return files
    }

    private static let tokenizerFiles: Set = ["special_tokens_map.json", "added_tokens.json", "vocab.json"]
    private static let configurationFiles: Set = [ModelFile.generation, ModelFile.modules]

    /// transformers' choice: one file, else an index and its shards, else whatever safetensors lie in the root.
    private static func rootWeightFiles(_ names: [String]) -> Set<String> {
        if names.contains(ModelFile.weights) { return [ModelFile.weights] }
        let weights = names.filter { $0.hasSuffix(".safetensors") && !$0.contains("/") }
        guard names.contains(ModelFile.weightsIndex) else { return Set(weights) }
        return Set(weights.filter { $0.hasPrefix("model-") } + [ModelFile.weightsIndex])
    }

    /// `1_Pooling`, `2_Dense`: a number, a line, a name.
    private static func isModuleFolder(_ name: Substring) -> Bool {
        let digits = name.prefix { $0.isASCII && $0.isNumber }
        return !digits.isEmpty && name.dropFirst(digits.count).first == "_"
    }
}
