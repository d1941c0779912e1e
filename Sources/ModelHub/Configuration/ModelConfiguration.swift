package import JSON

/// A model's config.json, in the spelling of transformers 4 or 5.
///
/// Where the file describes a model of several kinds of input (Gemma 3 with pictures), everything here speaks of its `text_config`.
/// A dimension is read with ``values``; its default, where the family's class has one, is the family's to pass.
package struct ModelConfiguration: Sendable {
    /// More layers than this are refused before anything is allocated for them.
    package static let maximumLayerCount = 4096

    /// The members of the text model.
    package let values: ConfigurationObject
    /// The whole file; equal to ``values`` where there is no `text_config`.
    package let outer: ConfigurationObject
    /// `qwen3`, `gemma3_text` and so on.
    package let modelType: String
    package let architectures: [String]

    package init(folder: ModelFolder) throws(ModelHubError) {
        guard folder.contains(ModelFile.configuration) else {
            throw ModelHubError(.notFound, "\(folder.name) has no config.json; is it a model folder in Hugging Face layout?")
        }
        try self.init(try ConfigurationObject(reading: ModelFile.configuration, of: folder))
    }

    package init(parsing bytes: [UInt8], file: String = ModelFile.configuration) throws(ModelHubError) {
        try self.init(try ConfigurationObject(file: file, parsing: bytes))
    }

    package init(_ outer: ConfigurationObject) throws(ModelHubError) {
        self.outer = outer
        let outerType = try outer.stringIfPresent("model_type")
        if let text = try outer.objectIfPresent("text_config") {
            values = text
            guard let modelType = try text.stringIfPresent("model_type") ?? outerType.map({ $0 + "_text" }) else {
                throw outer.absent("model_type", expected: "a model's family such as \"qwen3\"")
            }
            self.modelType = modelType
        } else {
            values = outer
            guard let outerType else { throw outer.absent("model_type", expected: "a model's family such as \"qwen3\"") }
            modelType = outerType
        }
        architectures = try outer.stringsIfPresent("architectures") ?? []
    }

    /// The members of the text model as they stand in the file.
    package var raw: JSONObject { values.members }

    package func integer(_ key: String, in range: ClosedRange<Int> = 1...ConfigurationObject.maximumInteger) throws(ModelHubError) -> Int {
        try values.integer(key, in: range)
    }

    package func integer(
        _ key: String, default fallback: Int, in range: ClosedRange<Int> = 1...ConfigurationObject.maximumInteger
    ) throws(ModelHubError) -> Int {
        try values.integer(key, default: fallback, in: range)
    }

    package var layerCount: Int {
        get throws(ModelHubError) { try values.integer("num_hidden_layers", in: 1...Self.maximumLayerCount) }
    }

    /// The weights' type as the file says it: `bfloat16`, `float32`; nil where it says nothing. The tensors themselves decide.
    package var weightType: String? {
        get throws(ModelHubError) {
            for object in [values, outer] {
                for key in ["dtype", "torch_dtype"] {
                    guard let type = try object.stringIfPresent(key) else { continue }
                    return type.hasPrefix("torch.") ? String(type.dropFirst(6)) : type
                }
            }
            return nil
        }
    }

    /// Whether the output head is the embedding table. A file with a `text_config` says it beside it.
    package func tiesWordEmbeddings(default fallback: Bool) throws(ModelHubError) -> Bool {
        let inner = try values.bool("tie_word_embeddings", default: fallback)
        return try outer.bool("tie_word_embeddings", default: inner)
    }

    /// The ids of `eos_token_id`, `bos_token_id` or `pad_token_id`; empty where the file names none.
    package func tokenIDs(_ key: String) throws(ModelHubError) -> [Int] {
        if let ids = try values.integersIfPresent(key) { return ids }
        return try outer.integersIfPresent(key) ?? []
    }
}
