/// How the next token is chosen from the logits.
///
/// In this order, as transformers' generation does: ``logitBias``, ``repetitionPenalty``, ``presencePenalty`` and ``frequencyPenalty``, ``temperature``,
/// ``topK``, ``topP``, ``minP``. The defaults take the likeliest token.
public struct SamplingParameters: Sendable, Equatable {
    /// Divides the logits; 0 takes the likeliest token (the lower id where two are equal) and leaves out all that follows it.
    public var temperature: Float = 0
    /// Keeps the tokens whose logit is among the `topK` largest, and all equal to the last of them; 0 keeps all.
    public var topK: Int = 0
    /// Keeps the smallest set of likeliest tokens whose probabilities reach this sum; 1 keeps all.
    public var topP: Float = 1
    /// Drops tokens less likely than this share of the likeliest token's probability; 0 drops none.
    public var minP: Float = 0
    /// Divides positive and multiplies negative logits of tokens of the prompt and the answer (CTRL, arXiv 1909.05858); 1 changes nothing.
    public var repetitionPenalty: Float = 1
    /// Subtracted from the logits of tokens that the answer holds.
    public var presencePenalty: Float = 0
    /// Subtracted from the logits of tokens that the answer holds, once for each time.
    public var frequencyPenalty: Float = 0
    /// Added to the logits of these ids.
    public var logitBias: [Int: Float] = [:]
    /// The same seed chooses the same tokens from the same logits; nil draws one.
    public var seed: UInt64?
    /// Reports the log-probability of each chosen token and of so many likeliest ones; nil reports none.
    public var logprobs: Int?

    public init() {}

    /// Whether anything but the likeliest token of the model's own logits can be chosen.
    var draws: Bool { temperature != 0 || repetitionPenalty != 1 || presencePenalty != 0 || frequencyPenalty != 0 }

    /// - Throws: ``ApusError`` with code `invalidParameter`, naming the parameter, its value and the allowed range.
    public func validate() throws {
        func check(_ name: String, _ value: Float, _ range: ClosedRange<Float>) throws {
            guard value.isFinite, range.contains(value) else {
                throw ApusError(.invalidParameter, "\(name) is \(value), allowed is \(range.lowerBound) to \(range.upperBound)")
            }
        }
        try check("temperature", temperature, 0...100)
        try check("top_p", topP, 0...1)
        guard topP > 0 else { throw ApusError(.invalidParameter, "top_p is 0, allowed is more than 0 and up to 1") }
        try check("min_p", minP, 0...1)
        try check("repetition_penalty", repetitionPenalty, 0.01...100)
        try check("presence_penalty", presencePenalty, -2...2)
        try check("frequency_penalty", frequencyPenalty, -2...2)
        guard topK >= 0 else { throw ApusError(.invalidParameter, "top_k is \(topK), allowed is 0 (all) or more") }
        if let logprobs, !(0...20).contains(logprobs) {
            throw ApusError(.invalidParameter, "logprobs is \(logprobs), allowed is 0 to 20")
        }
        for (id, bias) in logitBias { try check("logit_bias of token \(id)", bias, -100...100) }
    }
}

/// A chosen token.
public struct SampledToken: Sendable, Equatable {
    /// One of the likeliest tokens of a step.
    public struct Candidate: Sendable, Equatable {
        public let id: Int
        public let logprob: Float
    }

    public let id: Int
    /// Natural logarithm of its probability under the model's own logits, before penalties and temperature; nil where not asked for.
    public let logprob: Float?
    /// The likeliest tokens of the step, likeliest first.
    public let topLogprobs: [Candidate]
}
