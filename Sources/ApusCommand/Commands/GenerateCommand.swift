import Apus
import ArgumentParser
import Foundation
import Transformer

struct GenerateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate", abstract: "Continue a prompt.",
        discussion: """
            Tokens are chosen as the model's generation_config.json says; --temperature 0 takes the likeliest each time. \
            The prompt is continued as it stands; --chat puts it into the model's chat template first.
            """)

    @OptionGroup var model: DecoderArguments

    @Option(help: "The text to continue; - reads it from standard input.")
    var prompt: String?

    @Option(help: "Token ids to continue, separated by commas.")
    var ids: String?

    @Option(help: "Most tokens to generate.")
    var maxTokens: Int = 256

    @OptionGroup var sampling: SamplingArguments

    @OptionGroup var speculation: SpeculationArguments

    @Option(help: "End where this text comes up; may be given several times.")
    var stop: [String] = []

    @Flag(help: "Go on past the model's end-of-sequence token.")
    var ignoreEos = false

    @Flag(help: "Render the prompt as a user's message with the model's chat template.")
    var chat = false

    @Option(help: "A system message, with --chat.")
    var system: String?

    @Option(help: "Report the log-probabilities of the chosen and this many likeliest tokens, with --json.")
    var logprobs: Int?

    @Flag(help: "Say on stderr how long loading, the first token and the others took, how tokens were computed, and what memory that needs.")
    var timing = false

    @Flag(help: "Print one JSON object with prompt_tokens, tokens, text, finish_reason and timings.")
    var json = false

    func validate() throws {
        guard (prompt == nil) != (ids == nil) else { throw ValidationError("give --prompt TEXT or --ids 1,2,3") }
        if maxTokens < 0 { throw ValidationError("--max-tokens is \(maxTokens), expected at least 0") }
        if chat, ids != nil { throw ValidationError("--chat needs --prompt") }
        if system != nil, !chat { throw ValidationError("--system needs --chat") }
        if logprobs != nil, !json { throw ValidationError("--logprobs needs --json") }
    }

    func run() async throws {
        let start = ContinuousClock.now
        let generator = try Generator(model: await model.load(default: .text))
        let options = try options(for: generator)
        let promptIDs = try promptIDs(generator)
        let streams = !json
        try generator.prepare(options)
        let session = try generator.model.executor.makeSession()
        let loading = ContinuousClock.now - start
        let result = try generator.generate(ids: promptIDs, options: options, session: session) { piece in
            if streams {
                try Output.standard.write(piece.text)
                try Output.standard.flush()
            }
            return true
        }
        if json {
            try Output.standard.writeLine(GenerationReport.json(result, seed: options.sampling.seed))
        } else if generator.tokenizer == nil {
            try Output.standard.writeLine(JSONText.array(result.tokens))
        } else {
            try Output.standard.writeLine("")
        }
        try Output.standard.close()
        if timing {
            Notice.write("loaded in \(Format.milliseconds(loading)) on \(generator.deviceDescription)")
            Notice.write(GenerationReport.timings(result))
            if let line = GenerationReport.speculation(result) { Notice.write(line) }
            if let decoding = DecodeText.line(generator.model, session) { Notice.write(decoding) }
        }
    }

    private func options(for generator: Generator) throws -> GenerationOptions {
        var parameters = sampling.apply(to: generator.defaultSampling)
        // A seed that nobody chose is drawn here, so that the report can name it.
        if parameters.seed == nil { parameters.seed = UInt64.random(in: 0..<1 << 53) }
        parameters.logprobs = logprobs
        return GenerationOptions(
            maximumTokens: maxTokens, sampling: parameters, stopStrings: stop, ignoresEndOfSequence: ignoreEos,
            promptLookupTokens: speculation.speculate)
    }

    private func promptIDs(_ generator: Generator) throws -> [Int] {
        if let ids { return try TokenList.parse(ids) }
        var text = prompt ?? ""
        if text == "-" {
            guard let read = String(validating: FileHandle.standardInput.readDataToEndOfFile(), as: UTF8.self) else {
                throw ValidationError("standard input is not valid UTF-8")
            }
            text = read
        }
        if chat {
            let messages = (system.map { [ChatMessage(.system, $0)] } ?? []) + [ChatMessage(.user, text)]
            return try generator.encode(messages: messages)
        }
        let ids = try generator.encode(text)
        guard !ids.isEmpty else { throw ValidationError("the prompt has no token; give some text") }
        return ids
    }
}

/// `1,2,3`
enum TokenList {
    static func parse(_ text: String) throws -> [Int] {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false).map { $0.trimmingCharacters(in: .whitespaces) }
        return try parts.map { part in
            guard let id = Int(part), id >= 0 else { throw ValidationError("--ids: '\(part)' is no token id; write ids like 1,2,3") }
            return id
        }
    }
}
