import Apus
import CUDA
import Testing
import Transformer

/// Guessing ahead changes how many steps a text takes, and nothing else.
@Suite struct SpeculationTests {
    @Test func guessesFollowTheLatestTokensLastOccurrence() {
        var lookup = PromptLookup([7, 1, 2, 3, 9, 1, 2, 4])
        #expect(lookup.guesses(3).isEmpty)
        lookup.append(1)
        lookup.append(2)
        // Both runs of two came up; the later one goes before.
        #expect(lookup.guesses(2) == [4, 1])
        lookup.append(3)
        // Three that match go before two.
        #expect(lookup.guesses(3) == [9, 1, 2])
        #expect(lookup.guesses(0).isEmpty)
    }

    @Test func aShortCircleIsTakenRoundAgain() {
        #expect(PromptLookup([5, 5, 5]).guesses(4) == [5, 5, 5, 5])
        #expect(PromptLookup([8, 5, 6, 5, 6]).guesses(5) == [5, 6, 5, 6, 5])
        #expect(PromptLookup([5]).guesses(4).isEmpty)
        #expect(PromptLookup().guesses(1).isEmpty)
    }

    /// Runs with and without guesses, each on a session of its own.
    private func compare(_ generator: Generator, _ prompt: [Int], _ options: GenerationOptions, cut: Int? = nil) throws -> GenerationResult {
        func run(_ options: GenerationOptions) throws -> (result: GenerationResult, position: Int, pieces: [String]) {
            let session = try generator.model.executor.makeSession()
            var pieces: [String] = []
            let result = try generator.generate(ids: prompt, options: options, session: session) { piece in
                pieces.append(piece.text)
                return pieces.count != cut
            }
            return (result, session.position, pieces)
        }
        var plain = options
        plain.promptLookupTokens = 0
        let (expected, actual) = (try run(plain), try run(options))
        #expect(actual.result.tokens == expected.result.tokens)
        #expect(actual.result.text == expected.result.text)
        #expect(actual.result.finishReason == expected.result.finishReason)
        #expect(actual.result.logprobs.map(\.id) == expected.result.logprobs.map(\.id))
        #expect(actual.pieces == expected.pieces)
        // The conversation goes on from the same place.
        #expect(actual.position == expected.position)
        #expect(actual.result.timings.decodedTokens == expected.result.timings.decodedTokens)
        #expect(expected.result.speculation.steps == 0 && expected.result.speculation.guessed == 0)
        let speculation = actual.result.speculation
        #expect(speculation.tokens == speculation.steps + speculation.accepted)
        #expect(speculation.accepted <= speculation.guessed)
        return actual.result
    }

    private static let text = "Once more unto the breach, dear friends, once more; once more unto the breach, dear friends, once"

    @Test(arguments: [1, 3, 8]) func theTextIsTheModels(guesses: Int) async throws {
        let generator = try await Generator(nil, options: ModelOptions(device: .cpu))
        let prompt = try generator.encode(Self.text)
        var options = GenerationOptions(maximumTokens: 60, ignoresEndOfSequence: true, promptLookupTokens: guesses)
        let result = try compare(generator, prompt, options)
        #expect(result.speculation.accepted > 0)
        #expect(result.speculation.steps < result.timings.decodedTokens)
        // Every end there is, in the middle of a step too.
        for cut in 1...12 { _ = try compare(generator, prompt, options, cut: cut) }
        for limit in 1...9 {
            options.maximumTokens = limit
            _ = try compare(generator, prompt, options)
        }
        options.maximumTokens = 60
        for index in stride(from: 3, to: 40, by: 5) {
            options.stopTokens = [result.tokens[index]]
            _ = try compare(generator, prompt, options)
        }
        options.stopTokens = []
        options.stopStrings = [String(result.text.dropFirst(20).prefix(3))]
        _ = try compare(generator, prompt, options)
    }

    /// Why the text is the same: several positions at a time have the logits of single steps, bit for bit.
    @Test(arguments: [2, 4, 9, 16]) func logitsAreThoseOfSingleSteps(count: Int) async throws {
        let generator = try await Generator(nil, options: ModelOptions(device: .cpu))
        let ids = try generator.encode(Self.text).map { Int32($0) }
        let (several, single) = (try generator.model.executor.makeSession(), try generator.model.executor.makeSession())
        for session in [several, single] { _ = try session.extend(Array(ids.prefix(5))) }
        let next = Array(ids.dropFirst(5).prefix(count))
        var rows: [[Float]] = []
        try several.extend(next) { rows.append($1) }
        #expect(rows.count == count)
        for (id, row) in zip(next, rows) { #expect(try single.extend([id]) == row) }
    }

    /// The number that draws a token is the token's own, so what is drawn is the same too.
    @Test func drawnTextsAreTheSame() async throws {
        let generator = try await Generator(nil, options: ModelOptions(device: .cpu))
        let prompt = try generator.encode(Self.text)
        var options = GenerationOptions(maximumTokens: 120, ignoresEndOfSequence: true, promptLookupTokens: 3)
        (options.sampling.temperature, options.sampling.topK, options.sampling.seed) = (0.4, 5, 5)
        (options.sampling.repetitionPenalty, options.sampling.logprobs) = (1.02, 2)
        #expect(try compare(generator, prompt, options).speculation.guessed > 0)
    }

    /// The last position too, with random weights.
    @Test func theContextEndsTheText() async throws {
        try await TinyModel.withFolder(TinyModel.decoder) { folder in
            let generator = try await Generator(folder, options: ModelOptions(device: .cpu))
            let options = GenerationOptions(maximumTokens: 1000, ignoresEndOfSequence: true, promptLookupTokens: 3)
            let result = try compare(generator, generator.encode("to be or not to be or"), options)
            #expect(result.finishReason == .length)
            #expect(result.speculation.guessed > 0)
        }
    }

    @Test func aNumberOfGuessesThatIsNoneIsRefused() async throws {
        try await TinyModel.withFolder(TinyModel.decoder) { folder in
            let generator = try await Generator(folder, options: ModelOptions(device: .cpu))
            for guesses in [-1, GenerationOptions.largestPromptLookup + 1] {
                #expect(throws: ApusError.self) { try generator.generate("a", options: GenerationOptions(promptLookupTokens: guesses)) }
            }
        }
    }

    @Test func aConversationGoesOnFromGuessedTokens() async throws {
        func talk(_ guesses: Int) async throws -> [String] {
            let session = try ChatSession(try await Generator(nil, options: ModelOptions(device: .cpu)))
            let options = GenerationOptions(maximumTokens: 24, promptLookupTokens: guesses)
            return try ["Once more, once more, once more", "Once more unto the breach, once more unto"].map {
                try session.respond(to: $0, options: options).result.text
            }
        }
        #expect(try await talk(3) == talk(0))
    }
}
