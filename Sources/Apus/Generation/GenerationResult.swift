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
    /// What guessing came to; all zero where nothing was to be guessed.
    public internal(set) var speculation = Speculation()

    /// What ``GenerationOptions/promptLookupTokens`` came to.
    public struct Speculation: Sendable, Equatable {
        /// Passes over the model behind the prompt's, each of which gives a token and one for every guess that is kept.
        public internal(set) var steps = 0
        /// Tokens given by these steps, that which ended the text included.
        public internal(set) var tokens = 0
        public internal(set) var guessed = 0
        /// Guesses that the model chose too.
        public internal(set) var accepted = 0

        /// 1 without a guess that was kept; 0 where there was no step.
        public var tokensPerStep: Double { steps > 0 ? Double(tokens) / Double(steps) : 0 }
        /// Of all guesses; 0 where there was none.
        public var acceptance: Double { guessed > 0 ? Double(accepted) / Double(guessed) : 0 }
    }

    /// How long the parts took.
    public struct Timings: Sendable, Equatable {
        /// Tokens of the prompt that were computed, without those found in the cache.
        public internal(set) var prefilledTokens = 0
        public internal(set) var prefill: Duration = .zero
        /// From the call to the first sampled token.
        public internal(set) var firstToken: Duration = .zero
        /// Tokens behind the first, that which ended the text included.
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
