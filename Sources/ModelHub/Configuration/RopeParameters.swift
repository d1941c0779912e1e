/// The rotary position embedding of one kind of layer, as config.json describes it in either spelling.
///
/// `type` says which of the other members count; those that it requires are never nil:
/// `linear` and `dynamic` need ``factor``; `llama3` the factor, both frequency factors and ``originalMaximumPositions``; `yarn` and `longrope`
/// ``originalMaximumPositions`` (yarn's factor, where absent, is the maximum position count over it).
package struct RopeParameters: Sendable, Equatable {
    /// Base of the frequencies, over 0.
    package var theta: Double
    /// `default`, `linear`, `dynamic`, `yarn`, `longrope`, `llama3`, or what else the file says: whoever computes with it refuses what it does not know.
    package var type: String
    /// The share of each head that is rotated; 1 almost always.
    package var partialRotaryFactor: Double = 1
    package var factor: Double?
    package var originalMaximumPositions: Int?
    package var attentionFactor: Double?
    package var betaFast: Double?
    package var betaSlow: Double?
    package var lowFrequencyFactor: Double?
    package var highFrequencyFactor: Double?
    package var mscale: Double?
    package var mscaleAllDimensions: Double?
    package var truncate: Bool?
    package var shortFactor: [Double]?
    package var longFactor: [Double]?

    package init(theta: Double, type: String = "default") {
        self.theta = theta
        self.type = type
    }
}

/// How a family's files spread rope over the kinds of layers.
package enum RopeConvention: Sendable, Equatable {
    /// One rope for all layers, unless `rope_parameters` is keyed by layer type. `theta` is the class's default.
    case shared(theta: Double)
    /// Gemma 3: `rope_theta` and `rope_scaling` are those of full layers, `rope_local_base_freq` that of sliding layers.
    case perLayerType(full: Double, sliding: Double)
}
