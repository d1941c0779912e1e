package import Apus
import Tokenizers
import Transformer

/// Greedy decoding with guesses beside the same without, behind a text that repeats itself.
package struct SpeculationBenchmark {
    package struct Row: Sendable {
        package let context: Int
        package let guesses: Int
        /// Seconds a token, from the first to the last.
        package let plain: Spread
        package let guessed: Spread
        package let speculation: GenerationResult.Speculation
        /// Tokens that differ from those without guesses: none, or something is wrong.
        package let differences: Int

        package var gain: Double { plain.median / guessed.median }
    }

    private let generator: Generator
    private let steps: Int

    package init(_ generator: Generator, steps: Int) {
        self.generator = generator
        self.steps = steps
    }

    /// - Parameter context: tokens of the prompt, which says the same over and over.
    package func row(context: Int, guesses: Int, runs: Int) throws -> Row {
        let prompt = try Self.prompt(context, generator)
        var options = GenerationOptions(maximumTokens: steps + 1, ignoresEndOfSequence: true)
        func run(_ guesses: Int) throws -> GenerationResult {
            options.promptLookupTokens = guesses
            return try generator.generate(ids: prompt, options: options)
        }
        // The first runs compile and warm up.
        let expected = try run(0)
        let actual = try run(guesses)
        var (plain, guessed): ([Double], [Double]) = ([], [])
        for _ in 0..<runs {
            plain.append(Self.secondsPerToken(try run(0)))
            guessed.append(Self.secondsPerToken(try run(guesses)))
        }
        guard let plain = Spread(plain), let guessed = Spread(guessed) else {
            throw TransformerError(.invalidSpec, "a benchmark needs at least one run")
        }
        return Row(
            context: context, guesses: guesses, plain: plain, guessed: guessed, speculation: actual.speculation,
            differences: DecodeVerifier.differences(expected.tokens, actual.tokens))
    }

    /// A sentence over and over, or where the model has no tokenizer scattered tokens.
    static func prompt(_ count: Int, _ generator: Generator) throws -> [Int] {
        let phrase =
            try generator.tokenizer == nil
            ? (0..<24).map { ($0 * 7919 + 13) % generator.model.spec.vocabularySize }
            : generator.model.requireTokenizer().encode("Once more unto the breach, dear friends, once more.\n", addSpecialTokens: false)
        return (0..<count).map { phrase[$0 % phrase.count] }
    }

    private static func secondsPerToken(_ result: GenerationResult) -> Double {
        result.timings.decode / .seconds(1) / Double(max(1, result.timings.decodedTokens))
    }
}
