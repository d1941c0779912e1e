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
    /// Most tokens that are guessed a step from how the text went on before (prompt lookup), and kept where the model chooses the same: the same
    /// text in fewer steps where it repeats itself. 0 for none, at most ``largestPromptLookup``.
    ///
    /// On the CPU and by layers a step computes all guesses as a short prompt; the resident kernel takes three at most, and guesses only where the
    /// likeliest token is taken.
    public var promptLookupTokens: Int

    /// Sixteen rows are the most that a CPU multiplies as it multiplies one, whatever its precision.
    public static let largestPromptLookup = 15

    public init(
        maximumTokens: Int = 256, sampling: SamplingParameters = SamplingParameters(), stopStrings: [String] = [], stopTokens: Set<Int> = [],
        ignoresEndOfSequence: Bool = false, promptLookupTokens: Int = 0
    ) {
        self.maximumTokens = maximumTokens
        self.sampling = sampling
        self.stopStrings = stopStrings
        self.stopTokens = stopTokens
        self.ignoresEndOfSequence = ignoresEndOfSequence
        self.promptLookupTokens = promptLookupTokens
    }
}
