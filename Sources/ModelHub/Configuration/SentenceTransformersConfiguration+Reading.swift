import JSON
import OrderedCollections

extension SentenceTransformersConfiguration {
    /// Nil where `folder` has no modules.json, that is where it is no sentence-transformers folder.
    package init?(folder: ModelFolder) throws(ModelHubError) {
        guard folder.contains(ModelFile.modules) else { return nil }
        var transformer: String?
        var pooling: (mode: Pooling, poolsPrompt: Bool, dimension: Int?)?
        var features: Int?
        var steps: [Step] = []
        for module in try Self.modules(of: folder) {
            guard transformer != nil || module.type == "Transformer" else {
                throw module.misplaced("the first module must be the Transformer")
            }
            switch module.type {
            case "Transformer":
                guard transformer == nil else { throw module.misplaced("there can be only one") }
                transformer = module.path
            case "Pooling":
                guard pooling == nil, steps.isEmpty else { throw module.misplaced("it must come once, behind the Transformer") }
                let read = try Self.pooling(module, folder)
                pooling = read
                features = read.dimension
            case "Dense":
                guard pooling != nil else { throw module.misplaced("it must come behind Pooling") }
                let dense = try Self.dense(module, folder)
                guard features == nil || features == dense.inputFeatures else {
                    throw ModelHubError(
                        .invalidFile,
                        "\(folder.describe(module.path + "/config.json")): in_features is \(dense.inputFeatures), the module before gives \(features ?? 0)"
                    )
                }
                features = dense.outputFeatures
                steps.append(.dense(dense))
            case "Normalize":
                guard pooling != nil else { throw module.misplaced("it must come behind Pooling") }
                try Self.checkFeatureNames(module, folder)
                steps.append(.normalize)
            default:
                throw ModelHubError(
                    .unsupported,
                    "\(module.file): the module '\(ConfigurationObject.shorten(module.type))' is not supported; supported: Transformer, Pooling, Dense, Normalize"
                )
            }
        }
        guard let transformer, let pooling else {
            throw ModelHubError(.invalidFile, "\(folder.describe(ModelFile.modules)): expected a Transformer and a Pooling module")
        }
        self.init(pooling: pooling.mode, steps: steps)
        transformerPath = transformer
        poolsPrompt = pooling.poolsPrompt
        try readLimits(folder)
        try readPrompts(folder)
    }

    // MARK: modules.json

    private struct Module {
        let file: String
        /// The class's name without the package it lives in, which differs between versions.
        let type: String
        let path: String

        func misplaced(_ rule: String) -> ModelHubError {
            ModelHubError(.unsupported, "\(file): the module \(type) stands where Apus cannot compute it: \(rule)")
        }
    }

    private static func modules(of folder: ModelFolder) throws(ModelHubError) -> [Module] {
        let file = folder.describe(ModelFile.modules)
        let value: JSONValue
        do {
            value = try JSONValue(parsing: try folder.bytes(of: ModelFile.modules, maximumByteCount: 1 << 20))
        } catch let error as JSONError {
            throw ModelHubError(.invalidFile, "\(file), byte \(error.offset): \(error.message)")
        } catch let error as ModelHubError {
            throw error
        } catch {
            throw ModelHubError(.invalidFile, "\(file): \(error)")
        }
        guard let entries = value.arrayValue, entries.count <= 64 else {
            throw ModelHubError(.invalidFile, "\(file): expected a list of at most 64 modules, found \(ConfigurationObject.show(value))")
        }
        var modules: [Module] = []
        for (index, entry) in entries.enumerated() {
            guard let members = entry.objectValue else {
                throw ModelHubError(.invalidFile, "\(file): module \(index) must be an object, found \(ConfigurationObject.show(entry))")
            }
            let object = ConfigurationObject(file: file, members: members, prefix: "\(index).")
            let type = try object.string("type")
            let path = try object.string("path", default: "")
            guard path.isEmpty || ModelFile.isSafe(path) else {
                throw ModelHubError(
                    .invalidFile, "\(file): the path '\(ConfigurationObject.shorten(path))' of module \(index) leads out of the folder")
            }
            modules.append(Module(file: file, type: type.split(separator: ".").last.map(String.init) ?? type, path: path))
        }
        return modules
    }

    private static func configuration(of module: Module, _ folder: ModelFolder) throws(ModelHubError) -> ConfigurationObject {
        guard !module.path.isEmpty else {
            throw ModelHubError(.invalidFile, "\(module.file): the module \(module.type) needs a path of its own")
        }
        return try ConfigurationObject(reading: module.path + "/config.json", of: folder, maximumByteCount: 1 << 20)
    }

    // MARK: Pooling

    private static func pooling(
        _ module: Module, _ folder: ModelFolder
    ) throws(ModelHubError) -> (mode: Pooling, poolsPrompt: Bool, dimension: Int?) {
        let file = try configuration(of: module, folder)
        let names: [String]
        if let value = file.value("pooling_mode") {
            if let name = value.stringValue { names = [name] } else { names = try file.stringsIfPresent("pooling_mode") ?? [] }
        } else {
            // One boolean per mode, from before version 6. A file that sets none means the mean.
            var set: [String] = []
            for (key, name) in [
                ("pooling_mode_cls_token", "cls"), ("pooling_mode_max_tokens", "max"), ("pooling_mode_mean_tokens", "mean"),
                ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"), ("pooling_mode_weightedmean_tokens", "weightedmean"),
                ("pooling_mode_lasttoken", "lasttoken"),
            ] where try file.bool(key, default: false) { set.append(name) }
            names = set.isEmpty ? ["mean"] : set
        }
        guard names.count == 1, let mode = Pooling(rawValue: names[0].lowercased()) else {
            throw file.unsupported("pooling_mode", names.joined(separator: " + "), supported: "one of lasttoken, mean, cls")
        }
        let range = 1...ConfigurationObject.maximumInteger
        let dimension = try file.integerIfPresent(anyOf: ["embedding_dimension", "word_embedding_dimension"], in: range)
        return (mode, try file.bool("include_prompt", default: true), dimension)
    }

    // MARK: Dense and Normalize

    private static func dense(_ module: Module, _ folder: ModelFolder) throws(ModelHubError) -> Dense {
        let file = try configuration(of: module, folder)
        try checkFeatureNames(file)
        guard try !file.bool("use_residual", default: false) else {
            throw file.unsupported("use_residual", "true", supported: "false")
        }
        let range = 1...ConfigurationObject.maximumInteger
        // sentence-transformers' own default, where the file says nothing, is tanh.
        let activationName = try file.string("activation_function", default: "Tanh")
        let activation: Dense.Activation
        switch activationName.split(separator: ".").last {
        case "Identity": activation = .identity
        case "Tanh": activation = .tanh
        default: throw file.unsupported("activation_function", activationName, supported: "Identity, Tanh")
        }
        let weightsFile = module.path + "/" + ModelFile.weights
        guard folder.contains(weightsFile) else {
            let advice =
                folder.contains(module.path + "/pytorch_model.bin") ? "; pytorch_model.bin is not read, save it as safetensors" : ""
            throw ModelHubError(.notFound, "\(folder.name) has no file \(weightsFile)\(advice)")
        }
        return Dense(
            inputFeatures: try file.integer("in_features", in: range), outputFeatures: try file.integer("out_features", in: range),
            hasBias: try file.bool("bias", default: true), activation: activation, weightsFile: weightsFile)
    }

    private static func checkFeatureNames(_ module: Module, _ folder: ModelFolder) throws(ModelHubError) {
        let name = module.path + "/config.json"
        // Normalize writes a file only since version 5.
        guard !module.path.isEmpty, folder.contains(name) else { return }
        try checkFeatureNames(try ConfigurationObject(reading: name, of: folder, maximumByteCount: 1 << 20))
    }

    private static func checkFeatureNames(_ file: ConfigurationObject) throws(ModelHubError) {
        for key in ["module_input_name", "module_output_name"] {
            let name = try file.string(key, default: "sentence_embedding")
            guard name == "sentence_embedding" else { throw file.unsupported(key, name, supported: "sentence_embedding") }
        }
    }

    // MARK: Limits and prompts

    private mutating func readLimits(_ folder: ModelFolder) throws(ModelHubError) {
        let prefix = transformerPath.isEmpty ? "" : transformerPath + "/"
        for family in ["bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"] {
            let name = prefix + "sentence_\(family)_config.json"
            guard folder.contains(name) else { continue }
            let file = try ConfigurationObject(reading: name, of: folder, maximumByteCount: 1 << 20)
            maximumSequenceLength = try file.integerIfPresent("max_seq_length", in: 1...ConfigurationObject.maximumInteger)
            lowercases = try file.bool("do_lower_case", default: false)
            return
        }
    }

    private mutating func readPrompts(_ folder: ModelFolder) throws(ModelHubError) {
        guard folder.contains(ModelFile.sentenceTransformers) else { return }
        let file = try ConfigurationObject(reading: ModelFile.sentenceTransformers, of: folder, maximumByteCount: 4 << 20)
        if let texts = try file.objectIfPresent("prompts") {
            for name in texts.members.keys {
                if let text = try texts.stringIfPresent(name) { prompts[name] = text }
            }
        }
        defaultPromptName = try file.stringIfPresent("default_prompt_name")
        if let name = defaultPromptName, prompts[name] == nil {
            let known = prompts.isEmpty ? "there are none" : "there are " + prompts.keys.joined(separator: ", ")
            throw ModelHubError(
                .invalidFile,
                "\(file.file): \"default_prompt_name\" is '\(ConfigurationObject.shorten(name))', which is no prompt; \(known)")
        }
        if let name = try file.stringIfPresent("similarity_fn_name") {
            guard let known = Similarity(rawValue: name) else {
                throw file.unsupported("similarity_fn_name", name, supported: "cosine, dot, euclidean, manhattan")
            }
            similarity = known
        }
    }
}
