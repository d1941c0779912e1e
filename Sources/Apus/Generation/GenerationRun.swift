import Tokenizers
import Transformer

/// The state of one generation: sampler, detokeniser, stop conditions and clock.
struct GenerationRun {
    private let model: LoadedModel
    private let options: GenerationOptions
    private let promptIDs: [Int]
    private let endTokens: Set<Int>
    private var sampler: Sampler
    private var detokenizer: StreamingDetokenizer?
    private var stopStrings: StopStringMatcher
    private var result = GenerationResult()
    private var steps = DeviceTries()
    /// Nil where nothing is to be guessed.
    private var lookup: PromptLookup?

    init(model: LoadedModel, options: GenerationOptions, promptIDs: [Int]) throws {
        guard options.maximumTokens >= 0 else {
            throw ApusError(.invalidInput, "the token limit is \(options.maximumTokens), expected at least 0")
        }
        guard 0...GenerationOptions.largestPromptLookup ~= options.promptLookupTokens else {
            throw ApusError(
                .invalidInput, "\(options.promptLookupTokens) tokens to guess a step, expected 0 to \(GenerationOptions.largestPromptLookup)")
        }
        self.model = model
        self.options = options
        self.promptIDs = promptIDs
        endTokens = options.stopTokens.union(options.ignoresEndOfSequence ? [] : model.endOfSequenceIDs)
        sampler = try Sampler(options.sampling, vocabularySize: model.spec.vocabularySize, isAllowed: model.isSampleable, prompt: promptIDs)
        detokenizer = model.tokenizer.map { StreamingDetokenizer($0) }
        stopStrings = StopStringMatcher(options.stopStrings)
        result.promptTokens = promptIDs.count
        if options.promptLookupTokens > 0 { lookup = PromptLookup(promptIDs) }
    }

    mutating func execute(session: any DecoderSession, onPiece: (GenerationPiece) throws -> Bool) throws -> GenerationResult {
        let clock = ContinuousClock()
        let start = clock.now
        guard session.position < promptIDs.count else {
            throw ApusError(.invalidInput, "the session already holds the whole prompt; rewind it by a token to compute its logits again")
        }
        let uncached = try model.modelIDs(promptIDs[session.position...])
        var logits = try session.extend(uncached)
        result.timings.prefilledTokens = uncached.count
        result.timings.prefill = clock.now - start

        var decodeStart = clock.now
        result.finishReason = .length
        if options.maximumTokens > 0 {
            let sampled = try sampler.sample(&logits)
            result.timings.firstToken = clock.now - start
            decodeStart = clock.now
            var goesOn = try accept(sampled, onPiece)
            while goesOn {
                guard result.tokens.count < options.maximumTokens, session.position < model.spec.maximumPositions else {
                    result.finishReason = .length
                    break
                }
                if try decodeOnDevice(after: result.tokens[result.tokens.count - 1], session, onPiece) { break }
                goesOn = try step(session, onPiece)
            }
        }
        result.timings.decode = clock.now - decodeStart
        if let rest = flush(), !rest.isEmpty { _ = try onPiece(GenerationPiece(token: nil, text: rest)) }
        return result
    }

    /// One pass over the model: the token behind the last and, where guesses are right, those behind them. False when one of them was the last.
    private mutating func step(_ session: any DecoderSession, _ onPiece: (GenerationPiece) throws -> Bool) throws -> Bool {
        let start = session.position
        let guesses = guesses(from: start)
        let ids = try model.modelIDs([result.tokens[result.tokens.count - 1]] + guesses)
        var rows: [[Float]] = []
        if guesses.isEmpty { rows = [try session.extend(ids)] } else { try session.extend(ids) { rows.append($1) } }
        if lookup != nil {
            result.speculation.steps += 1
            result.speculation.guessed += guesses.count
        }
        // The session is to hold what was kept, whatever ends the step.
        var kept = 1
        defer { if kept < rows.count { session.rewind(to: start + kept) } }
        for index in rows.indices {
            let sampled = try sampler.sample(&rows[index])
            result.timings.decodedTokens += 1
            if lookup != nil { result.speculation.tokens += 1 }
            let isRight = index < guesses.count && guesses[index] == sampled.id
            guard try accept(sampled, onPiece) else { return false }
            guard isRight else { break }
            result.speculation.accepted += 1
            kept += 1
        }
        return true
    }

    /// As many as there is room for. None where the resident kernel computes each position by itself.
    private func guesses(from position: Int) -> [Int] {
        guard let lookup, model.executor.decodeForm?.isResident != true else { return [] }
        let room = min(options.maximumTokens - result.tokens.count, model.spec.maximumPositions - position) - 1
        return lookup.guesses(min(options.promptLookupTokens, room))
    }

    /// Takes a token into the result and hands its piece over; false when it was the last, and the reason is then noted.
    private mutating func accept(_ sampled: SampledToken, _ onPiece: (GenerationPiece) throws -> Bool) throws -> Bool {
        guard !endTokens.contains(sampled.id) else {
            result.finishReason = .stop
            return false
        }
        result.tokens.append(sampled.id)
        lookup?.append(sampled.id)
        if options.sampling.logprobs != nil { result.logprobs.append(sampled) }
        let (text, stopped) = advance(sampled.id)
        if try !onPiece(GenerationPiece(token: sampled, text: text)) {
            result.finishReason = .cancelled
            return false
        }
        if stopped { result.finishReason = .stop }
        return !stopped
    }

    /// Lets the device choose all further tokens; false where it cannot, or cannot decide on the next.
    private mutating func decodeOnDevice(
        after id: Int, _ session: any DecoderSession, _ onPiece: (GenerationPiece) throws -> Bool
    ) throws -> Bool {
        guard let session = session as? any ResidentDecoderSession, let choice = sampler.deviceChoice else { return false }
        guard steps.tries() else { return false }
        // Unless something else ends it.
        result.finishReason = .length
        let before = result.tokens.count
        var (passes, guessed) = (0, 0)
        let lookup =
            lookup == nil
            ? nil
            : DeviceLookup(history: try model.modelIDs(promptIDs + result.tokens), guesses: options.promptLookupTokens) {
                passes += 1
                guessed += $0
            }
        let handedBefore = result.timings.decodedTokens
        let isOver = try session.decode(
            from: Int32(id), limit: options.maximumTokens - result.tokens.count, stops: endTokens.map { Int32(truncatingIfNeeded: $0) },
            sampleable: choice.sampleable, draw: choice.draw, lookup: lookup
        ) { token in
            result.timings.decodedTokens += 1
            sampler.note(Int(token))
            return try accept(SampledToken(id: Int(token), logprob: nil, topLogprobs: []), onPiece)
        }
        if passes > 0 {
            let tokens = result.timings.decodedTokens - handedBefore
            result.speculation.steps += passes
            result.speculation.tokens += tokens
            result.speculation.guessed += guessed
            result.speculation.accepted += tokens - passes
        }
        if !isOver { steps.note(handed: result.tokens.count - before) }
        return isOver
    }

    /// The text that token `id` makes certain, and whether a stop string ends it.
    private mutating func advance(_ id: Int) -> (text: String, stopped: Bool) {
        guard let certain = detokenizer?.append(id) else { return ("", false) }
        let text = stopStrings.append(certain)
        result.text += text
        return (text, stopStrings.isMatched)
    }

    /// What is still held back when the tokens are over.
    private mutating func flush() -> String? {
        guard !stopStrings.isMatched, let tail = detokenizer?.finish() else { return nil }
        let text = stopStrings.append(tail) + stopStrings.finish()
        result.text += text
        return text
    }
}

/// When a device that could not decide on a token is asked again: at once where it had chosen some, else after ever more tokens.
package struct DeviceTries {
    private var failures = 0
    private var pause = 0

    package init() {}

    package mutating func tries() -> Bool {
        guard pause > 0 else { return true }
        pause -= 1
        return false
    }

    package mutating func note(handed: Int) {
        failures = handed > 0 ? 0 : min(failures + 1, 6)
        pause = (1 << failures) - 1
    }
}
