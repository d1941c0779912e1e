/// What a generation made.
public struct GenerationResult: Sendable {
    /// Why it ended.
    public enum FinishReason: String, Sendable {
        /// The model ended it, or a stop string came up.
        case stop
        /// The token limit or the end of the context was reached.
        case length
        /// The caller stopped it.
        case cancelled
    }

    /// Tokens of the prompt, those found in the cache included.
    public internal(set) var promptTokens = 0
    /// The generated ids, without the one that ended the text.
    public internal(set) var tokens: [Int] = []
    /// The generated text; empty where the model has no tokenizer.
    public internal(set) var text = ""
    public internal(set) var finishReason = FinishReason.length
    /// One entry a token of ``tokens`` where log-probabilities were asked for.
    public internal(set) var logprobs: [SampledToken] = []
    public internal(set) var timings = Timings()

    /// How long the parts took.
    public struct Timings: Sendable, Equatable {
        /// Tokens of the prompt that were computed, without those found in the cache.
        public internal(set) var prefilledTokens = 0
        public internal(set) var prefill: Duration = .zero
        /// From the call to the first sampled token.
        public internal(set) var firstToken: Duration = .zero
        /// Steps behind the first token.
        public internal(set) var decodedTokens = 0
        public internal(set) var decode: Duration = .zero

        /// Tokens a second; 0 where nothing was measured.
        public var prefillRate: Double { Self.rate(prefilledTokens, prefill) }
        public var decodeRate: Double { Self.rate(decodedTokens, decode) }

        private static func rate(_ tokens: Int, _ duration: Duration) -> Double {
            let seconds = duration / .seconds(1)
            return seconds > 0 ? Double(tokens) / seconds : 0
        }
    }
}

/// One step of a running generation.
public struct GenerationPiece: Sendable {
    /// The token of this step; nil for the text that is let go once the end is known.
    public let token: SampledToken?
    /// Text that is certain now: it may be empty while a character or a possible stop string is incomplete, and long afterwards.
    public let text: String
}
