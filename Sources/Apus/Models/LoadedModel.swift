import Foundation
package import ModelHub
import Tensors
package import Tokenizers
package import Transformer

/// A model folder with everything in it read and checked, and the executor that runs it.
package struct LoadedModel: Sendable {
    package let name: String
    package let folder: ModelFolder
    package let configuration: ModelConfiguration
    package let spec: TransformerSpec
    /// One for each replica, at least one.
    package let executors: [any ModelExecutor]
    package var executor: any ModelExecutor { executors[0] }
    /// As they lie in the mapped checkpoint.
    package let weights: TransformerWeights
    package let weightByteCount: Int
    package let weightType: String
    package let hasHead: Bool
    package private(set) var tokenizer: Tokenizer?
    package let tokenizerConfiguration: TokenizerConfiguration
    package let generation: GenerationConfiguration
    package let chat: ChatRendering
    package let family: any ModelFamily.Type

    /// Loads from an opened folder.
    ///
    /// - Parameter groupRows: ``CUDAExecutor/groupRows``, for measuring.
    package init(folder: ModelFolder, options: ModelOptions, groupRows: Int? = nil) throws {
        self.folder = folder
        name = folder.name
        configuration = try ModelConfiguration(folder: folder)
        family = try ModelFamilies.family(of: configuration)
        spec = try family.spec(from: configuration)
        let weights = try TransformerWeights(
            Self.checkpoint(of: folder), spec: spec, names: family.tensorNames(for: spec))
        self.weights = weights
        weightByteCount = weights.byteCount
        weightType = weights.embedding.typeName
        hasHead = weights.head != nil
        var options = options
        // Texts to embed come many rows at a time; single tokens lose by it.
        if options.fusion == nil, options.decoding != .resident, folder.contains(ModelFile.modules) {
            options.fusion = .preferred(for: spec, precision: options.precision)
        }
        tokenizerConfiguration = try TokenizerConfiguration(folder: folder)
        // Whoever asks for vectors is told what is wrong with their description.
        let encoder = !options.preparesVectors ? nil : try? EncoderDescription(folder, family: family, spec: spec, tokenizer: tokenizerConfiguration)
        executors = try ExecutorChoice(spec: spec, weights: weights, options: options, groupRows: groupRows, head: encoder?.head).makeExecutors()
        tokenizer = folder.contains(ModelFile.tokenizer) ? try Tokenizer(json: folder.bytes(of: ModelFile.tokenizer)) : nil
        generation = try GenerationConfiguration(folder: folder, configuration: configuration)
        chat = try ChatRendering(folder: folder)
    }

    /// Finds `reference` (a bundled model's name, a folder, or a hub name, fetched where the cache lacks it) and loads it.
    package init(_ reference: String, options: ModelOptions, progress: (@Sendable (DownloadProgress) -> Void)? = nil) async throws {
        try self.init(folder: await Self.findFolder(reference, options: options, progress: progress), options: options)
    }

    /// The folder behind a reference, without loading the model.
    package static func findFolder(
        _ reference: String, parts: ModelParts = .all, options: ModelOptions = ModelOptions(),
        progress: (@Sendable (DownloadProgress) -> Void)? = nil
    ) async throws -> ModelFolder {
        if let bundled = BundledModel(rawValue: reference) { return bundled.folder }
        return try await ModelFolder.open(
            reference, parts: parts, download: options.allowsDownload ? .ifMissing : .never, progress: progress)
    }

    private static func checkpoint(of folder: ModelFolder) throws -> SafetensorsCheckpoint {
        if let directory = folder.directory { return try SafetensorsCheckpoint(directory: directory) }
        return try SafetensorsCheckpoint(files: [
            SafetensorsFile(data: folder.data(of: ModelFile.weights), name: folder.describe(ModelFile.weights))
        ])
    }
}

extension LoadedModel {
    package func requireTokenizer() throws -> Tokenizer {
        guard let tokenizer else {
            throw ApusError(.missingFile, "\(name) has no tokenizer.json, so it takes and gives token ids only (--ids)")
        }
        return tokenizer
    }

    /// Ids that end a text.
    package var endOfSequenceIDs: Set<Int> { Set(generation.eosTokenIDs) }

    /// Ids as the executor takes them; an id that does not fit is reported as one outside the vocabulary.
    package func modelIDs(_ ids: some Sequence<Int>) throws -> [Int32] {
        try ids.map { id in
            guard let small = Int32(exactly: id) else {
                throw TransformerError(.invalidToken, "\(id) is no token id of this model; its vocabulary has ids 0 to \(spec.vocabularySize - 1)")
            }
            return small
        }
    }

    /// The same model that takes and gives token ids only, all of its vocabulary.
    package func withoutTokenizer() -> LoadedModel {
        var copy = self
        copy.tokenizer = nil
        return copy
    }

    /// Ids that may be sampled: those that the tokenizer knows; nil for all where there is no tokenizer.
    package func isSampleable(_ id: Int) -> Bool { tokenizer?.contains(id) ?? true }

    /// What generation_config.json asks for; greedy where it does not ask for sampling, as transformers has it.
    package var defaultSampling: SamplingParameters {
        var parameters = SamplingParameters()
        if let penalty = generation.repetitionPenalty { parameters.repetitionPenalty = Float(penalty) }
        guard generation.doSample == true else { return parameters }
        parameters.temperature = Float(generation.temperature ?? 1)
        // transformers' own defaults stand in for what the file leaves out.
        parameters.topK = generation.topK ?? 50
        parameters.topP = Float(generation.topP ?? 1)
        parameters.minP = Float(generation.minP ?? 0)
        return parameters
    }
}
