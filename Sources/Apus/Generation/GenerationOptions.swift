/// What bounds a generation and how its tokens are chosen.
public struct GenerationOptions: Sendable {
    /// Most tokens to generate.
    public var maximumTokens: Int
    public var sampling: SamplingParameters
    /// Texts that end the generation when they come up; they are not part of the result.
    public var stopStrings: [String]
    /// Ids that end the generation besides the model's own end-of-sequence ids.
    public var stopTokens: Set<Int>
    /// Goes on past the model's end-of-sequence ids, for measuring.
    public var ignoresEndOfSequence: Bool

    public init(
        maximumTokens: Int = 256, sampling: SamplingParameters = SamplingParameters(), stopStrings: [String] = [], stopTokens: Set<Int> = [],
        ignoresEndOfSequence: Bool = false
    ) {
        self.maximumTokens = maximumTokens
        self.sampling = sampling
        self.stopStrings = stopStrings
        self.stopTokens = stopTokens
        self.ignoresEndOfSequence = ignoresEndOfSequence
    }
}
