import Foundation
import JSON
import ModelHub
import OrderedCollections
import Tensors
package import Transformer

/// Writes a folder in Hugging Face layout with seeded random weights: for measuring, for testing, and as a start for training.
///
/// The tokenizer it adds knows bytes and the special tokens only, so that texts can be used at once; their ids lie where the model's own
/// tokenizer has them.
package struct FolderInitializer {
    private let configurationText: String
    private let configuration: ModelConfiguration
    private let family: any ModelFamily.Type
    package let spec: TransformerSpec
    private let pooling: EncoderHead.Pooling?
    private let denseSizes: [Int]

    package init(preset: Preset) throws {
        try self.init(configurationText: preset.configuration, pooling: preset.pooling, denseSizes: preset.denseSizes)
    }

    /// - Parameter path: a config.json of a supported family.
    package init(configurationPath path: String) throws {
        guard let data = FileManager.default.contents(atPath: path), let text = String(validating: data, as: UTF8.self) else {
            throw ApusError(.missingFile, "cannot read the configuration '\(path)'")
        }
        try self.init(configurationText: text, pooling: nil, denseSizes: [])
    }

    private init(configurationText: String, pooling: EncoderHead.Pooling?, denseSizes: [Int]) throws {
        self.configurationText = configurationText
        configuration = try ModelConfiguration(parsing: Array(configurationText.utf8))
        family = try ModelFamilies.family(of: configuration)
        spec = try family.spec(from: configuration)
        self.pooling = pooling
        self.denseSizes = denseSizes
    }

    /// Writes the folder, which must not exist or be empty.
    package func write(to directory: String, seed: UInt64, progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }) throws {
        let manager = FileManager.default
        if let entries = try? manager.contentsOfDirectory(atPath: directory), !entries.isEmpty {
            throw ApusError(.invalidInput, "the folder '\(directory)' is not empty; choose a new one")
        }
        do {
            try manager.createDirectory(atPath: directory, withIntermediateDirectories: true)
        } catch {
            throw ApusError(.invalidInput, "cannot create the folder '\(directory)': \(error.localizedDescription)")
        }
        func write(_ text: String, _ file: String) throws {
            let path = directory + "/" + file
            try manager.createDirectory(
                atPath: URL(fileURLWithPath: path).deletingLastPathComponent().path, withIntermediateDirectories: true)
            try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        }
        try write(configurationText, ModelFile.configuration)
        let tokenizer = ByteTokenizerFiles(configuration: configuration, spec: spec, isEncoder: pooling != nil)
        try write(tokenizer.tokenizerJSON, ModelFile.tokenizer)
        try write(tokenizer.configurationJSON, ModelFile.tokenizerConfiguration)
        if pooling == nil, let template = tokenizer.chatTemplate { try write(template, ModelFile.chatTemplate) }
        if let pooling {
            for (file, text) in SentenceTransformersFiles(pooling: pooling, hiddenSize: spec.hiddenSize, denseSizes: denseSizes).texts {
                try write(text, file)
            }
            try writeDenseLayers(to: directory, seed: seed)
        }
        let deviation = try configuration.values.number("initializer_range", default: 0.02, in: 0...10)
        let isCausal = configuration.architectures.contains { $0.hasSuffix("ForCausalLM") }
        try RandomWeights(spec: spec, seed: seed, deviation: Float(deviation), dtype: weightType()).write(
            to: directory, names: family.tensorNames(for: spec), prefix: isCausal ? "model." : "", progress: progress)
    }

    private func weightType() throws -> DType {
        switch try configuration.weightType {
        case nil, "bfloat16": return .bfloat16
        case "float16": return .float16
        case "float32": return .float32
        case let other?:
            throw ApusError(.unsupportedModel, "weights of dtype '\(other)' cannot be made; use bfloat16, float16 or float32")
        }
    }

    private func writeDenseLayers(to directory: String, seed: UInt64) throws {
        var width = spec.hiddenSize
        for (index, size) in denseSizes.enumerated() {
            let numbers = RandomNumbers(seed: seed, stream: "dense.\(index)")
            let scale = 1 / Float(width).squareRoot()
            let weight = try HostTensor((0..<size * width).map { numbers.normal($0) * scale }, shape: [size, width])
            try SafetensorsWriter.write([("linear.weight", weight)], to: directory + "/\(index + 2)_Dense/model.safetensors")
            width = size
        }
    }
}

/// sentence-transformers' files for an encoder folder.
private struct SentenceTransformersFiles {
    let pooling: EncoderHead.Pooling
    let hiddenSize: Int
    let denseSizes: [Int]

    var texts: [(file: String, text: String)] {
        var modules = [("", "sentence_transformers.models.Transformer"), ("1_Pooling", "sentence_transformers.models.Pooling")]
        modules += denseSizes.indices.map { ("\($0 + 2)_Dense", "sentence_transformers.models.Dense") }
        modules.append(("\(denseSizes.count + 2)_Normalize", "sentence_transformers.models.Normalize"))
        let list = modules.enumerated().map { index, module in
            "  {\"idx\": \(index), \"name\": \"\(index)\", \"path\": \"\(module.0)\", \"type\": \"\(module.1)\"}"
        }
        var files = [("modules.json", "[\n\(list.joined(separator: ",\n"))\n]\n")]
        files.append(
            (
                "1_Pooling/config.json",
                """
                {
                  "word_embedding_dimension": \(hiddenSize),
                  "pooling_mode_cls_token": \(pooling == .firstToken),
                  "pooling_mode_mean_tokens": \(pooling == .mean),
                  "pooling_mode_max_tokens": false,
                  "pooling_mode_mean_sqrt_len_tokens": false,
                  "pooling_mode_weightedmean_tokens": false,
                  "pooling_mode_lasttoken": \(pooling == .lastToken),
                  "include_prompt": true
                }

                """
            ))
        var width = hiddenSize
        for (index, size) in denseSizes.enumerated() {
            files.append(
                (
                    "\(index + 2)_Dense/config.json",
                    """
                    {
                      "in_features": \(width),
                      "out_features": \(size),
                      "bias": false,
                      "activation_function": "torch.nn.modules.linear.Identity"
                    }

                    """
                ))
            width = size
        }
        return files
    }
}
