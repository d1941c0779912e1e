import JSON
import OrderedCollections

/// What a layer's attention sees.
package enum AttentionLayerType: String, Sendable, CaseIterable {
    case full = "full_attention"
    case sliding = "sliding_attention"
}

extension ModelConfiguration {
    var isGemma3: Bool { modelType == "gemma3" || modelType == "gemma3_text" }

    /// The attention of each layer, first layer first.
    ///
    /// Follows transformers 5: `layer_types` where the file has it; else Gemma's `sliding_window_pattern` n (6 by default), by which every n-th
    /// layer is full; else Qwen's `use_sliding_window`, by which layers from `max_window_layers` on are sliding; else all are full.
    package func layerTypes() throws(ModelHubError) -> [AttentionLayerType] {
        let count = try layerCount
        if let names = try values.stringsIfPresent("layer_types") {
            guard names.count == count else {
                throw ModelHubError(
                    .invalidFile,
                    "\(values.file): \"\(values.prefix)layer_types\" names \(names.count) layers, \"num_hidden_layers\" says \(count)")
            }
            var types: [AttentionLayerType] = []
            for name in names {
                guard let type = AttentionLayerType(rawValue: name) else {
                    throw values.unsupported("layer_types", name, supported: "full_attention, sliding_attention")
                }
                types.append(type)
            }
            return types
        }
        let patternRange = 1...ConfigurationObject.maximumInteger
        let pattern = try values.integerIfPresent(anyOf: ["sliding_window_pattern", "_sliding_window_pattern"], in: patternRange)
        if let pattern = pattern ?? (isGemma3 ? 6 : nil) {
            return (0..<count).map { ($0 + 1) % pattern == 0 ? .full : .sliding }
        }
        if try values.bool("use_sliding_window", default: false), try slidingWindow() != nil {
            let firstSliding = try values.integer("max_window_layers", default: 28)
            return (0..<count).map { $0 >= firstSliding ? .sliding : .full }
        }
        return Array(repeating: .full, count: count)
    }

    /// `sliding_window` as the file means it, or nil where no layer has a window.
    ///
    /// Qwen's files carry a window that counts only with `use_sliding_window`. Gemma's encoder files (`use_bidirectional_attention`) hold the whole
    /// width w, of which each side sees |i - j| < w / 2 + 1; that halving is the family's.
    package func slidingWindow() throws(ModelHubError) -> Int? {
        let usesWindow = try values.bool("use_sliding_window", default: !modelType.hasPrefix("qwen"))
        guard usesWindow else { return nil }
        let hasDefault = isGemma3 || modelType.hasPrefix("qwen")
        // The classes' default stands in for an absent key; a null in the file means no window.
        guard let value = values.members["sliding_window"] else { return hasDefault ? 4096 : nil }
        return value.isNull ? nil : try values.integer("sliding_window", in: 1...ConfigurationObject.maximumInteger)
    }
}
