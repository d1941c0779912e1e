import Apus
import ArgumentParser

/// Whether tokens are guessed ahead.
struct SpeculationArguments: ParsableArguments {
    @Option(
        help: """
            Guess up to this many tokens a step from how the text went on before (prompt lookup) and keep those that the model chooses too: the same \
            text, sooner where it repeats itself. 1 to \(GenerationOptions.largestPromptLookup); a GPU's resident kernel guesses three at most, and only \
            where the likeliest token is taken.
            """)
    var speculate: Int = 0

    func validate() throws {
        guard 0...GenerationOptions.largestPromptLookup ~= speculate else {
            throw ValidationError("--speculate is \(speculate), expected 0 to \(GenerationOptions.largestPromptLookup)")
        }
    }
}

/// How tokens are chosen; what is left out comes from the model's generation_config.json.
struct SamplingArguments: ParsableArguments {
    @Option(help: "0 takes the likeliest token, 1 samples as the model says.")
    var temperature: Float?

    @Option(help: "Sample among the K likeliest tokens.")
    var topK: Int?

    @Option(help: "Sample among the likeliest tokens whose probabilities reach P together.")
    var topP: Float?

    @Option(help: "Drop tokens less likely than P times the likeliest.")
    var minP: Float?

    @Option(help: "Divide the logits of tokens that came up before; 1 for none.")
    var repetitionPenalty: Float?

    @Option(help: "Subtract from the logits of tokens generated before.")
    var presencePenalty: Float?

    @Option(help: "Subtract from the logits of tokens generated before, for each time.")
    var frequencyPenalty: Float?

    @Option(help: "Seed of the random choice; the same seed gives the same text.")
    var seed: UInt64?

    func apply(to defaults: SamplingParameters) -> SamplingParameters {
        var parameters = defaults
        if let temperature { parameters.temperature = temperature }
        if let topK { parameters.topK = topK }
        if let topP { parameters.topP = topP }
        if let minP { parameters.minP = minP }
        if let repetitionPenalty { parameters.repetitionPenalty = repetitionPenalty }
        if let presencePenalty { parameters.presencePenalty = presencePenalty }
        if let frequencyPenalty { parameters.frequencyPenalty = frequencyPenalty }
        if let seed { parameters.seed = seed }
        return parameters
    }
}
