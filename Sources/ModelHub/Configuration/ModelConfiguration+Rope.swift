import JSON
import OrderedCollections

extension ModelConfiguration {
    /// The convention of this model's family in transformers 5: Gemma 3's own, else one rope for all with base 10,000.
    package var ropeConvention: RopeConvention {
        isGemma3 ? .perLayerType(full: 1_000_000, sliding: 10_000) : .shared(theta: 10_000)
    }

    /// The rope of layers of `layerType`, out of transformers 4's keys (`rope_theta`, `rope_local_base_freq`, `rope_scaling`) or transformers 5's
    /// `rope_parameters`, flat or by layer type, with the defaults that transformers 5 fills in.
    package func ropeParameters(
        forLayerType layerType: AttentionLayerType, convention: RopeConvention? = nil
    ) throws(ModelHubError) -> RopeParameters {
        let entry: ConfigurationObject
        let theta: Double
        var outerOriginal: Int?
        switch convention ?? ropeConvention {
        case .shared(let defaultTheta):
            theta = try values.number("rope_theta", default: defaultTheta, in: Self.thetaRange)
            (entry, outerOriginal) = try sharedRopeEntry(layerType)
        case .perLayerType(let full, let sliding):
            let key = layerType == .full ? "rope_theta" : "rope_local_base_freq"
            theta = try values.number(key, default: layerType == .full ? full : sliding, in: Self.thetaRange)
            entry = try perLayerRopeEntry(layerType)
        }
        let type = try entry.stringIfPresent(anyOf: ["rope_type", "type"]) ?? "default"
        var rope = RopeParameters(theta: try entry.number("rope_theta", default: theta, in: Self.thetaRange), type: type)
        let share = try values.number("partial_rotary_factor", default: 1, in: 0...1)
        rope.partialRotaryFactor = try entry.number("partial_rotary_factor", default: share, in: 0...1)
        try readScaling(of: &rope, entry, outerOriginal: outerOriginal)
        return rope
    }

    private static var thetaRange: ClosedRange<Double> { Double.leastNormalMagnitude...1e30 }

    /// `rope_scaling` stands for `rope_parameters` where both are there. The second result is an original context length beside them, which wins.
    private func sharedRopeEntry(_ layerType: AttentionLayerType) throws(ModelHubError) -> (ConfigurationObject, Int?) {
        var entry = try values.objectIfPresent("rope_parameters")
        if let scaling = try values.objectIfPresent("rope_scaling"), !scaling.members.isEmpty { entry = scaling }
        guard let entry else { return (ConfigurationObject(file: values.file, members: [:], prefix: values.prefix), nil) }
        let declared = Set(try layerTypes().map(\.rawValue))
        guard entry.members.keys.contains(where: declared.contains) else {
            return (entry, try values.integerIfPresent("original_max_position_embeddings", in: Self.positionRange))
        }
        guard let nested = try entry.objectIfPresent(layerType.rawValue) else {
            throw entry.absent(layerType.rawValue, expected: "the rope of \(layerType.rawValue) layers")
        }
        return (nested, nil)
    }

    private func perLayerRopeEntry(_ layerType: AttentionLayerType) throws(ModelHubError) -> ConfigurationObject {
        let parameters = try values.objectIfPresent("rope_parameters")
        let nested = try parameters?.objectIfPresent(layerType.rawValue)
        var members = nested?.members ?? [:]
        var prefix = nested?.prefix ?? values.prefix
        if layerType == .full, let scaling = try values.objectIfPresent("rope_scaling"), !scaling.members.isEmpty {
            members.merge(scaling.members) { _, new in new }
            // Old files say "type"; beside a "rope_type" of the same object that one counts.
            if !scaling.has("rope_type"), let type = scaling.value("type") { members["rope_type"] = type }
            prefix = scaling.prefix
        }
        return ConfigurationObject(file: values.file, members: members, prefix: prefix)
    }

    private static var positionRange: ClosedRange<Int> { 1...ConfigurationObject.maximumInteger }

    private func readScaling(of rope: inout RopeParameters, _ entry: ConfigurationObject, outerOriginal: Int?) throws(ModelHubError) {
        let positive = Double.leastNormalMagnitude...1e30
        rope.factor = try entry.numberIfPresent("factor", in: positive)
        rope.attentionFactor = try entry.numberIfPresent("attention_factor", in: 0...1e30)
        rope.betaFast = try entry.numberIfPresent("beta_fast", in: 0...1e30)
        rope.betaSlow = try entry.numberIfPresent("beta_slow", in: 0...1e30)
        rope.lowFrequencyFactor = try entry.numberIfPresent("low_freq_factor", in: positive)
        rope.highFrequencyFactor = try entry.numberIfPresent("high_freq_factor", in: positive)
        rope.mscale = try entry.numberIfPresent("mscale")
        rope.mscaleAllDimensions = try entry.numberIfPresent("mscale_all_dim")
        rope.truncate = try entry.boolIfPresent("truncate")
        rope.shortFactor = try numbersIfPresent("short_factor", of: entry)
        rope.longFactor = try numbersIfPresent("long_factor", of: entry)
        rope.originalMaximumPositions = try entry.integerIfPresent("original_max_position_embeddings", in: Self.positionRange)
        switch rope.type {
        case "linear", "dynamic":
            guard rope.factor != nil else { throw entry.absent("factor", expected: "the factor of \(rope.type) rope") }
        case "llama3":
            guard rope.factor != nil else { throw entry.absent("factor", expected: "the factor of llama3 rope") }
            guard rope.lowFrequencyFactor != nil else { throw entry.absent("low_freq_factor", expected: "a number") }
            guard rope.highFrequencyFactor != nil else { throw entry.absent("high_freq_factor", expected: "a number") }
            try fillOriginal(&rope, outerOriginal)
        case "yarn", "longrope":
            try fillOriginal(&rope, outerOriginal)
        default: break
        }
    }

    private func fillOriginal(_ rope: inout RopeParameters, _ outerOriginal: Int?) throws(ModelHubError) {
        if let outerOriginal { rope.originalMaximumPositions = outerOriginal }
        if rope.originalMaximumPositions == nil {
            rope.originalMaximumPositions = try values.integer("max_position_embeddings", in: Self.positionRange)
        }
    }

    private func numbersIfPresent(_ key: String, of entry: ConfigurationObject) throws(ModelHubError) -> [Double]? {
        guard let value = entry.value(key) else { return nil }
        guard let elements = value.arrayValue else { throw entry.invalid(key, expected: "a list of numbers", found: value) }
        var numbers: [Double] = []
        for element in elements {
            guard let number = element.doubleValue, number.isFinite else {
                throw entry.invalid(key, expected: "a list of numbers", found: element)
            }
            numbers.append(number)
        }
        return numbers
    }
}
