import Apus
import Foundation
import Testing
import Transformer

/// A session whose device chooses for itself gives the answers of one that does not.
@Suite struct ResidentDecodingTests {
    /// The CPU's session as a device of that kind: it computes one token further than it is asked to go on, as the GPU does.
    private final class Device: ResidentDecoderSession, @unchecked Sendable {
        let inner: any DecoderSession
        private(set) var handed = 0
        private(set) var calls = 0
        /// Tokens behind which it cannot decide on the next.
        private let most: Int?

        init(_ inner: any DecoderSession, most: Int? = nil) {
            self.inner = inner
            self.most = most
        }

        var position: Int { inner.position }
        var cacheByteCount: Int { inner.cacheByteCount }
        func extend(_ ids: [Int32]) throws -> [Float] { try inner.extend(ids) }
        func extend(_ ids: [Int32], eachLogits body: (_ position: Int, _ logits: [Float]) throws -> Void) throws {
            try inner.extend(ids, eachLogits: body)
        }
        func rewind(to position: Int) { inner.rewind(to: position) }

        func decode(
            from first: Int32, limit: Int, stops: [Int32], sampleable: Int, draw: DeviceDraw?, lookup: DeviceLookup?, _ body: (Int32) throws -> Bool
        ) throws -> Bool {
            var token = first
            var state = draw
            calls += 1
            // As the kernel guesses: in steps of a token and those that were guessed right.
            var guessed = PromptLookup(lookup?.history.map(Int.init) ?? [])
            var right: [Int] = []
            for step in 0..<limit {
                if let most, step == most { return false }
                if draw == nil, let lookup, right.isEmpty {
                    right = guessed.guesses(min(3, lookup.guesses, limit - step - 1))
                    lookup.onStep(right.count)
                    right.append(-1)
                }
                var logits = try inner.extend([token])
                let end = inner.position
                token = Int32(try choose(&logits, sampleable, &state, step))
                handed += 1
                guessed.append(Int(token))
                right = right.first == Int(token) ? Array(right.dropFirst()) : []
                let goesOn = try body(token)
                _ = try? inner.extend([token])
                inner.rewind(to: end)
                if !goesOn || stops.contains(token) { break }
            }
            return true
        }

        /// As the kernel does it, from what it is given.
        private func choose(_ logits: inout [Float], _ sampleable: Int, _ draw: inout DeviceDraw?, _ step: Int) throws -> Int {
            for id in sampleable..<logits.count { logits[id] = -.infinity }
            guard var given = draw else { return logits.indices.max { logits[$0] < logits[$1] } ?? 0 }
            let words = given.deviceCounts(vocabularySize: logits.count)
            for (id, word) in words.enumerated() {
                if word >> 31 == 1 {
                    logits[id] = logits[id] < 0 ? logits[id] * given.repetitionPenalty : logits[id] / given.repetitionPenalty
                }
                guard word & 0x7FFF_FFFF > 0 else { continue }
                logits[id] -= given.presencePenalty + given.frequencyPenalty * Float(word & 0x7FFF_FFFF)
            }
            var id = logits.indices.max { logits[$0] < logits[$1] } ?? 0
            if given.temperature > 0 {
                var candidates = CandidateSet()
                candidates.fill(logits, temperature: given.temperature, topK: given.topK)
                candidates.keepMass(given.topP)
                candidates.drop(below: given.minP)
                id = candidates.pick(given.uniform(step))
            }
            given.seen.insert(id)
            given.counts[id, default: 0] += 1
            draw = given
            return id
        }
    }

    private func compare(_ generator: Generator, _ options: GenerationOptions, isHanded: Bool = true, cut: Int? = nil, most: Int? = nil) throws {
        let prompt = try generator.encode("To be")
        func run(_ session: any DecoderSession) throws -> GenerationResult {
            var pieces = 0
            return try generator.generate(ids: prompt, options: options, session: session) { _ in
                pieces += 1
                return pieces != cut
            }
        }
        let plain = try generator.model.executor.makeSession()
        let device = Device(try generator.model.executor.makeSession(), most: most)
        let (expected, result) = (try run(plain), try run(device))
        #expect(result.tokens == expected.tokens)
        #expect(result.text == expected.text)
        #expect(result.finishReason == expected.finishReason)
        #expect((device.handed > 0) == isHanded)
        // The conversation goes on from the same place.
        #expect(device.position == plain.position)
    }

    /// Every id of the vocabulary is one of the tokenizer's: 256 bytes and three special ones.
    private static let configuration = TinyModel.decoder.replacingOccurrences(of: "\"vocab_size\": 300", with: "\"vocab_size\": 259")
        .replacingOccurrences(of: "299", with: "258")

    @Test func answersAreThoseOfSingleSteps() async throws {
        try await TinyModel.withFolder(Self.configuration) { folder in
            let generator = try await Generator(folder)
            var options = GenerationOptions(maximumTokens: 40, ignoresEndOfSequence: true)
            try compare(generator, options)
            try compare(generator, options, cut: 7)
            let whole = try generator.generate("To be", options: options)
            options.stopTokens = [whole.tokens[12]]
            try compare(generator, options)
            options.stopTokens = []
            options.stopStrings = [String(whole.text.unicodeScalars.dropFirst(9).prefix(2).map(Character.init))]
            try compare(generator, options)
            options = GenerationOptions(maximumTokens: 1, ignoresEndOfSequence: true)
            try compare(generator, options, isHanded: false)
        }
    }

    /// A device that guesses gives the same text, and says in how many steps.
    @Test func guessesAreCounted() async throws {
        try await TinyModel.withFolder(Self.configuration) { folder in
            let generator = try await Generator(folder)
            let prompt = try generator.encode("to be to be to be")
            var options = GenerationOptions(maximumTokens: 100, ignoresEndOfSequence: true, promptLookupTokens: 3)
            let host = try generator.generate(ids: prompt, options: options)
            let device = Device(try generator.model.executor.makeSession())
            let result = try generator.generate(ids: prompt, options: options, session: device)
            #expect(result.tokens == host.tokens)
            #expect(result.speculation == host.speculation)
            #expect(result.speculation.accepted > 0)
            // What is drawn is drawn a token a step.
            (options.sampling.temperature, options.sampling.seed) = (1, 2)
            let drawn = try generator.generate(ids: prompt, options: options, session: Device(try generator.model.executor.makeSession()))
            #expect(drawn.speculation.steps == 0 && drawn.tokens.count == 100)
            try compare(generator, GenerationOptions(maximumTokens: 40, ignoresEndOfSequence: true, promptLookupTokens: 2), cut: 17)
        }
    }

    static let draws: [SamplingParameters] = {
        func parameters(_ change: (inout SamplingParameters) -> Void) -> SamplingParameters {
            var parameters = SamplingParameters()
            (parameters.temperature, parameters.seed) = (1, 3)
            change(&parameters)
            return parameters
        }
        return [
            parameters { _ in },
            parameters { ($0.topK, $0.topP, $0.temperature) = (20, 0.95, 0.6) },
            parameters { ($0.minP, $0.repetitionPenalty) = (0.05, 1.3) },
            parameters { ($0.topP, $0.presencePenalty, $0.frequencyPenalty) = (0.8, 0.7, 0.4) },
            parameters { ($0.temperature, $0.repetitionPenalty, $0.frequencyPenalty) = (0, 1.2, 0.5) },
        ]
    }()

    /// Also where the device hands the choice back now and then, or always.
    @Test(arguments: draws) func drawsAreThoseOfTheSampler(parameters: SamplingParameters) async throws {
        try await TinyModel.withFolder(Self.configuration) { folder in
            let generator = try await Generator(folder)
            let options = GenerationOptions(maximumTokens: 40, sampling: parameters, ignoresEndOfSequence: true)
            try compare(generator, options)
            try compare(generator, options, cut: 7)
            try compare(generator, options, most: 3)
            try compare(generator, options, isHanded: false, most: 0)
        }
    }

    @Test func whatADeviceCannotDrawIsDrawnByTheHost() async throws {
        try await TinyModel.withFolder(Self.configuration) { folder in
            let generator = try await Generator(folder)
            var options = GenerationOptions(maximumTokens: 10, ignoresEndOfSequence: true)
            options.sampling.logprobs = 2
            try compare(generator, options, isHanded: false)
            options.sampling.logprobs = nil
            options.sampling.logitBias = [7: 1]
            try compare(generator, options, isHanded: false)
        }
    }

    @Test func aDeviceThatCannotDecideIsAskedEverLessOften() {
        var tries = DeviceTries()
        var asked = 0
        for _ in 0..<200 where tries.tries() {
            asked += 1
            tries.note(handed: 0)
        }
        #expect(asked < 12)
        for _ in 0..<64 where tries.tries() { tries.note(handed: 5) }
        let isAsked = tries.tries()
        #expect(isAsked)
    }
}
