import Apus
import Foundation
import Testing
import Tokenizers
import Transformer

@Suite struct GeneratorTests {
    private func greedy(_ count: Int) -> GenerationOptions { GenerationOptions(maximumTokens: count, ignoresEndOfSequence: true) }

    @Test func greedyTakesTheLikeliestTokenThatTheTokenizerHas() async throws {
        try await TinyModel.withFolder(TinyModel.decoder) { folder in
            let generator = try await Generator(folder)
            let prompt = try generator.encode("To be")
            let result = try generator.generate(ids: prompt, options: greedy(20))
            #expect(result.tokens.count == 20)
            #expect(result.finishReason == .length)
            #expect(result.promptTokens == prompt.count)
            let session = try generator.model.executor.makeSession()
            var logits = try session.extend(prompt.map { Int32($0) })
            for token in result.tokens {
                let allowed = logits.indices.filter { generator.model.isSampleable($0) }
                #expect(allowed.max { logits[$0] < logits[$1] } == token)
                logits = try session.extend([Int32(token)])
            }
            #expect(generator.tokenizer?.decode(result.tokens) == result.text)
        }
    }

    @Test func withoutATokenizerAllIDsAreChosenFrom() async throws {
        try await TinyModel.withFolder(TinyModel.decoder) { folder in
            let model = try await LoadedModel(folder, options: ModelOptions())
            let generator = try Generator(model: model.withoutTokenizer())
            let result = try generator.generate(ids: [1, 2, 3], options: greedy(40))
            let session = try model.executor.makeSession()
            var logits = try session.extend([1, 2, 3])
            for token in result.tokens {
                #expect(logits.indices.max { logits[$0] < logits[$1] } == token)
                logits = try session.extend([Int32(token)])
            }
            // Some of these are none of the tokenizer's.
            #expect(result.tokens.contains { !model.isSampleable($0) })
        }
    }

    @Test func piecesMakeTheText() async throws {
        try await TinyModel.withFolder(TinyModel.decoder) { folder in
            let generator = try await Generator(folder)
            var text = ""
            let result = try generator.generate("Or not", options: greedy(40)) { piece in
                text += piece.text
                return true
            }
            #expect(text == result.text)
            var streamed = ""
            for try await piece in generator.stream("Or not", options: greedy(40)) { streamed += piece.text }
            #expect(streamed == text)
        }
    }

    @Test func stopsOnStringsTokensLimitsAndRequest() async throws {
        try await TinyModel.withFolder(TinyModel.decoder) { folder in
            let generator = try await Generator(folder)
            let whole = try generator.generate("a", options: greedy(60))
            let scalars = Array(whole.text.unicodeScalars)
            // A stop string of two scalars from the middle spans token borders, since a token is one byte here.
            let stop = String(String.UnicodeScalarView(scalars[20...21]))
            var options = greedy(60)
            options.stopStrings = [stop]
            let stopped = try generator.generate("a", options: options)
            #expect(stopped.finishReason == .stop)
            #expect(!stopped.text.contains(stop))
            #expect(whole.text.unicodeScalars.starts(with: stopped.text.unicodeScalars))

            options = greedy(60)
            options.stopTokens = [whole.tokens[10]]
            let first = try #require(whole.tokens.firstIndex(of: whole.tokens[10]))
            #expect(try generator.generate("a", options: options).tokens == Array(whole.tokens.prefix(first)))

            #expect(try generator.generate("a", options: greedy(0)).tokens.isEmpty)
            let cancelled = try generator.generate("a", options: greedy(60)) { _ in false }
            #expect(cancelled.finishReason == .cancelled)
            #expect(cancelled.tokens.count == 1)
        }
    }

    @Test func theContextEndsTheText() async throws {
        try await TinyModel.withFolder(TinyModel.decoder) { folder in
            let generator = try await Generator(folder)
            let result = try generator.generate("abc", options: greedy(1000))
            #expect(result.finishReason == .length)
            // The last token needs no position of its own.
            #expect(result.tokens.count == generator.contextLength - 3 + 1)
            #expect(throws: TransformerError.self) {
                try generator.generate(ids: Array(repeating: 1, count: generator.contextLength + 1), options: greedy(1))
            }
        }
    }

    @Test func aSeedRepeatsAndAnotherDiffers() async throws {
        try await TinyModel.withFolder(TinyModel.decoder) { folder in
            let generator = try await Generator(folder)
            func text(_ seed: UInt64) throws -> [Int] {
                var options = greedy(30)
                options.sampling.temperature = 1
                options.sampling.seed = seed
                return try generator.generate("x", options: options).tokens
            }
            #expect(try text(3) == text(3))
            #expect(try text(3) != text(4))
        }
    }

    @Test func anEncoderIsNoGenerator() async throws {
        let bidirectional = TinyModel.encoder.replacing("\"model_type\"", with: "\"use_bidirectional_attention\": true, \"model_type\"")
        try await TinyModel.withFolder(bidirectional) { folder in
            let error = await #expect(throws: ApusError.self) { try await Generator(folder) }
            #expect(error?.code == .unsupportedModel)
        }
    }
}
