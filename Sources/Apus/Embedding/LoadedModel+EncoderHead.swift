import ModelHub
import Tensors
package import Transformer

/// What a model folder says about turning texts into vectors.
package struct EncoderDescription: Sendable {
    package let head: EncoderHead
    /// Texts put before an input, by name.
    package let prompts: [(name: String, text: String)]
    package let defaultPromptName: String?
    /// Most tokens of a text, special tokens included.
    package let maximumTokens: Int
    package let lowercases: Bool
    /// False when pooling and prompts are the family's defaults because the folder has no modules.json.
    package let isFromFolder: Bool
}

extension EncoderDescription {
    /// Reads sentence-transformers' files, or takes the family's defaults where the folder has none.
    init(
        _ folder: ModelFolder, family: any ModelFamily.Type, spec: TransformerSpec, tokenizer: TokenizerConfiguration
    ) throws {
        guard let modules = try SentenceTransformersConfiguration(folder: folder) else {
            self.init(
                head: EncoderHead(pooling: family.defaultPooling(for: spec)), prompts: [], defaultPromptName: nil,
                maximumTokens: min(spec.maximumPositions, tokenizer.maximumLength ?? .max), lowercases: false, isFromFolder: false)
            return
        }
        guard modules.poolsPrompt || modules.pooling == .lastToken else {
            throw ApusError(
                .unsupportedModel,
                "\(folder.name): pooling that leaves the prompt out (include_prompt false) is not supported for '\(modules.pooling.rawValue)'")
        }
        let pooling: EncoderHead.Pooling =
            switch modules.pooling {
            case .lastToken: .lastToken
            case .mean: .mean
            case .firstToken: .firstToken
            }
        let head = EncoderHead(
            pooling: pooling, dense: try modules.denseLayers.map { try Self.dense($0, in: folder) }, normalizes: modules.normalizes)
        try head.validate(hiddenSize: spec.hiddenSize)
        let limits = [modules.maximumSequenceLength, tokenizer.maximumLength].compactMap { $0 }
        self.init(
            head: head, prompts: modules.prompts.map { ($0.key, $0.value) }, defaultPromptName: modules.defaultPromptName,
            maximumTokens: min(spec.maximumPositions, modules.maximumSequenceLength ?? limits.min() ?? .max), lowercases: modules.lowercases,
            isFromFolder: true)
    }

    private static func dense(_ layer: SentenceTransformersConfiguration.Dense, in folder: ModelFolder) throws -> EncoderHead.Dense {
        let file = try SafetensorsFile(data: folder.data(of: layer.weightsFile), name: folder.describe(layer.weightsFile))
        let weight = try WeightMatrix(
            file.tensor("linear.weight"), name: "\(layer.weightsFile): linear.weight", rows: layer.outputFeatures, columns: layer.inputFeatures)
        let bias =
            try layer.hasBias
            ? WeightMatrix(file.tensor("linear.bias"), name: "\(layer.weightsFile): linear.bias", rows: 1, columns: layer.outputFeatures) : nil
        return EncoderHead.Dense(weight: weight, bias: bias, activation: layer.activation == .tanh ? .tanh : .identity)
    }
}

extension LoadedModel {
    /// What the folder says, or the family's defaults.
    package func encoderDescription() throws -> EncoderDescription {
        try EncoderDescription(folder, family: family, spec: spec, tokenizer: tokenizerConfiguration)
    }
}
