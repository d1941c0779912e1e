package import ModelHub

/// How one family of models writes its configuration and names its tensors. A further family is one further file and one entry in ``all``.
package protocol ModelFamily: Sendable {
    /// `model_type` values of config.json that belong to the family.
    static var modelTypes: [String] { get }

    /// - Throws: ``TransformerError`` with code `unsupportedModel` for a trait that no executor computes, and the reader's own errors.
    static func spec(from configuration: ModelConfiguration) throws -> TransformerSpec

    static func tensorNames(for spec: TransformerSpec) -> TensorNames

    /// How the family's encoders pool when the folder does not say.
    static func defaultPooling(for spec: TransformerSpec) -> EncoderHead.Pooling
}

package enum ModelFamilies {
    package static let all: [any ModelFamily.Type] = [Qwen3Family.self, Gemma3Family.self]

    /// The family of a configuration.
    package static func family(of configuration: ModelConfiguration) throws -> any ModelFamily.Type {
        guard let family = all.first(where: { $0.modelTypes.contains(configuration.modelType) }) else {
            let known = all.flatMap { $0.modelTypes }.joined(separator: ", ")
            throw TransformerError(
                .unsupportedModel, "\(configuration.values.file): model_type '\(configuration.modelType)' is not supported; supported are \(known)")
        }
        return family
    }
}

extension ModelConfiguration {
    /// The layers' windows and rope as the file has them; `window` is already in the sense of ``TransformerSpec/LayerSpec/window``.
    func layerSpecs(window: Int?) throws -> [TransformerSpec.LayerSpec] {
        var ropes: [AttentionLayerType: TransformerSpec.RopeSpec] = [:]
        return try layerTypes().map { type in
            let rope = try ropes[type] ?? ropeSpec(forLayerType: type)
            ropes[type] = rope
            return TransformerSpec.LayerSpec(window: type == .sliding ? window : nil, rope: rope)
        }
    }

    private func ropeSpec(forLayerType type: AttentionLayerType) throws -> TransformerSpec.RopeSpec {
        let rope = try ropeParameters(forLayerType: type)
        guard rope.partialRotaryFactor == 1 else {
            throw unsupported("partial_rotary_factor \(rope.partialRotaryFactor)", supported: "1")
        }
        switch rope.type {
        case "default": return TransformerSpec.RopeSpec(base: Float(rope.theta))
        case "linear": return TransformerSpec.RopeSpec(base: Float(rope.theta), factor: Float(rope.factor ?? 1))
        default: throw unsupported("rope_type '\(rope.type)'", supported: "default and linear")
        }
    }

    /// Refuses a key that is there with a value that no executor computes.
    func refuse(_ key: String, unless isHarmless: (ConfigurationObject) throws -> Bool) throws {
        guard values.has(key), try !isHarmless(values) else { return }
        throw unsupported("'\(key)'", supported: "models without it")
    }

    func unsupported(_ trait: String, supported: String) -> TransformerError {
        TransformerError(.unsupportedModel, "\(values.file): \(trait) is not supported; supported: \(supported)")
    }
}
