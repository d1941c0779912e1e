package import Transformer

/// Chooses tokens for one sequence and remembers what it chose.
///
/// Cost: one pass over the vocabulary for the likeliest token, a few for sampling; only candidates are sorted.
package struct Sampler: Sendable {
    private let parameters: SamplingParameters
    private let random: Philox
    private let vocabularySize: Int
    /// Ids that are never chosen.
    private let forbidden: [Int]
    /// Ids of prompt and answer, for the repetition penalty.
    private var seen: Set<Int>
    /// How often the answer holds an id.
    private var counts: [Int: Int] = [:]
    private var step: UInt64 = 0
    private var candidates = CandidateSet()

    /// - Parameters:
    ///   - isAllowed: whether an id may be chosen at all.
    ///   - prompt: the prompt's ids.
    package init(_ parameters: SamplingParameters, vocabularySize: Int, isAllowed: (Int) -> Bool, prompt: [Int]) throws {
        try parameters.validate()
        self.parameters = parameters
        self.vocabularySize = vocabularySize
        random = Philox(seed: parameters.seed ?? UInt64.random(in: .min ... .max))
        forbidden = (0..<vocabularySize).filter { !isAllowed($0) }
        guard forbidden.count < vocabularySize else {
            throw ApusError(.unsupportedModel, "the tokenizer has none of the model's \(vocabularySize) ids")
        }
        seen = parameters.repetitionPenalty == 1 ? [] : Set(prompt)
    }

    /// Chooses the next token from `logits [V]`, which are changed.
    ///
    /// - Throws: ``ApusError`` with code `nonFiniteLogits` when a logit is NaN or +infinity, or no token is left.
    package mutating func sample(_ logits: inout [Float]) throws -> SampledToken {
        guard logits.count == vocabularySize else {
            throw ApusError(.nonFiniteLogits, "\(logits.count) logits came for a vocabulary of \(vocabularySize)")
        }
        for id in forbidden { logits[id] = -.infinity }
        if let bad = logits.firstIndex(where: { !($0 < .infinity) }) {
            throw ApusError(.nonFiniteLogits, "the logit of token \(bad) is \(logits[bad]); the weights or their number range are at fault")
        }
        let report = parameters.logprobs.map { LogprobReport(logits: logits, count: $0) }
        applyPenalties(&logits)
        let id = try parameters.temperature == 0 ? likeliest(logits) : draw(logits)
        remember(id)
        return SampledToken(id: id, logprob: report?.logprob(of: id), topLogprobs: report?.top ?? [])
    }

    /// How a device can choose as this sampler would, from now on: ids below a number, by a draw or, without one, the likeliest. Nil where it cannot.
    package var deviceChoice: (sampleable: Int, draw: DeviceDraw?)? {
        let p = parameters
        guard p.logitBias.isEmpty, p.logprobs == nil else { return nil }
        let limit = vocabularySize - forbidden.count
        guard forbidden.first.map({ $0 == limit }) ?? true else { return nil }
        let (random, step) = (random, step)
        var draw = DeviceDraw { random.uniform(step &+ UInt64($0)) }
        (draw.temperature, draw.topK, draw.topP, draw.minP) = (p.temperature, p.topK, p.topP, p.minP)
        (draw.repetitionPenalty, draw.presencePenalty, draw.frequencyPenalty) = (p.repetitionPenalty, p.presencePenalty, p.frequencyPenalty)
        guard p.temperature != 0 || draw.hasPenalties else { return (limit, nil) }
        (draw.seen, draw.counts) = (seen, counts)
        return (limit, draw)
    }

    /// Notes a token that a device chose in this sampler's place.
    package mutating func note(_ id: Int) { remember(id) }

    private mutating func remember(_ id: Int) {
        if parameters.repetitionPenalty != 1 { seen.insert(id) }
        counts[id, default: 0] += 1
        step += 1
    }

    private func applyPenalties(_ logits: inout [Float]) {
        for (id, bias) in parameters.logitBias where logits.indices.contains(id) { logits[id] += bias }
        let repetition = parameters.repetitionPenalty
        for id in seen where logits.indices.contains(id) {
            logits[id] = logits[id] < 0 ? logits[id] * repetition : logits[id] / repetition
        }
        guard parameters.presencePenalty != 0 || parameters.frequencyPenalty != 0 else { return }
        for (id, count) in counts {
            logits[id] -= parameters.presencePenalty + parameters.frequencyPenalty * Float(count)
        }
    }

    private func likeliest(_ logits: [Float]) throws -> Int {
        var best = 0
        for id in 1..<max(1, logits.count) where logits[id] > logits[best] { best = id }
        guard logits[best] > -.infinity else { throw noTokenLeft }
        return best
    }

    /// Draws by inverting the cumulative distribution of the candidates in the order of their ids.
    private mutating func draw(_ logits: [Float]) throws -> Int {
        candidates.fill(logits, temperature: parameters.temperature, topK: parameters.topK)
        guard !candidates.isEmpty else { throw noTokenLeft }
        candidates.keepMass(parameters.topP)
        candidates.drop(below: parameters.minP)
        return candidates.pick(random.uniform(step))
    }

    private var noTokenLeft: ApusError {
        ApusError(.nonFiniteLogits, "every token's logit is -infinity, so none can be chosen")
    }
}
