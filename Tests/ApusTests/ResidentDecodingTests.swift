import Apus
import Foundation
import Testing
import Transformer

/// A session whose device chooses for itself gives the answers of one that does not.
@Suite struct ResidentDecodingTests {
    /// The CPU's session as a device of that kind: it computes one token further than it is asked to go on, as the GPU does.
    private final class Device: GreedyDecoderSession, @unchecked Sendable {
        let inner: any DecoderSession
        private(set) var handed = 0

        init(_ inner: any DecoderSession) { self.inner = inner }

        var position: Int { inner.position }
        var cacheByteCount: Int { inner.cacheByteCount }
        func extend(_ ids: [Int32]) throws -> [Float] { try inner.extend(ids) }
        func extend(_ ids: [Int32], eachLogits body: (_ position: Int, _ logits: [Float]) throws -> Void) throws {
            try inner.extend(ids, eachLogits: body)
        }
        func rewind(to position: Int) { inner.rewind(to: position) }

        func decodeGreedily(from first: Int32, limit: Int, stops: [Int32], sampleable: Int, _ body: (Int32) throws -> Bool) throws -> Bool {
            var token = first
            for _ in 0..<limit {
                let logits = try inner.extend([token])[..<sampleable]
                token = Int32(logits.indices.max { logits[$0] < logits[$1] } ?? 0)
                handed += 1
                let end = inner.position
                let goesOn = try body(token)
                _ = try? inner.extend([token])
                inner.rewind(to: end)
                if !goesOn || stops.contains(token) { break }
            }
            return true
        }
    }

    private func compare(_ generator: Generator, _ options: GenerationOptions, isHanded: Bool = true, cut: Int? = nil) throws {
        let prompt = try generator.encode("To be")
        func run(_ session: any DecoderSession) throws -> GenerationResult {
            var pieces = 0
            return try generator.generate(ids: prompt, options: options, session: session) { _ in
                pieces += 1
                return pieces != cut
            }
        }
        let plain = try generator.model.executor.makeSession()
        let device = Device(try generator.model.executor.makeSession())
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
            options = GenerationOptions(maximumTokens: 1000, ignoresEndOfSequence: true)
            options.sampling.temperature = 1
            options.sampling.seed = 3
            options.maximumTokens = 20
            try compare(generator, options, isHanded: false)
        }
    }
}
