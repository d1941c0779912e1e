import Apus
import ArgumentParser
import Dispatch
import Foundation
import Transformer

struct ChatCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chat", abstract: "Talk with a model.",
        discussion: """
            /clear forgets the conversation, /think and /no_think turn a reasoning model's thinking on and off, /quit or Ctrl-D ends. \
            Ctrl-C stops an answer that is being written. A turn computes only what is new of the conversation.
            """)

    @OptionGroup var model: DecoderArguments

    @Option(help: "A system message at the start of the conversation.")
    var system: String?

    @Option(help: "Most tokens of an answer.")
    var maxTokens: Int = 2048

    @OptionGroup var sampling: SamplingArguments

    @OptionGroup var speculation: SpeculationArguments

    func run() async throws {
        let generator = try Generator(model: await model.load(default: .text))
        let parameters = sampling.apply(to: generator.defaultSampling)
        let options = GenerationOptions(
            maximumTokens: maxTokens, sampling: parameters, promptLookupTokens: speculation.speculate)
        try generator.prepare(options)
        let session = try ChatSession(generator, system: system)
        var loop = ChatLoop(session: session, options: options, isTerminal: isatty(STDIN_FILENO) == 1)
        loop.say(
            "\(model.model ?? BundledModel.text.name) on \(generator.deviceDescription). /clear, /think, /no_think, /quit; Ctrl-C stops an answer.")
        if let mode = DecodeText.mode(generator.model.executor.decodeForm) { loop.say("Tokens: \(mode).") }
        try loop.run()
    }
}

/// Reads lines, answers them, and knows the slash commands.
private struct ChatLoop {
    let session: ChatSession
    let options: GenerationOptions
    let isTerminal: Bool
    private let interrupt: Interrupt

    init(session: ChatSession, options: GenerationOptions, isTerminal: Bool) {
        self.session = session
        self.options = options
        self.isTerminal = isTerminal
        interrupt = Interrupt(isTerminal: isTerminal)
    }

    mutating func run() throws {
        while true {
            if isTerminal { try write("> ") }
            guard let line = readLine() else { break }
            interrupt.clear()
            switch line.trimmingCharacters(in: .whitespaces) {
            case "": continue
            case "/quit", "/exit": return
            case "/clear":
                session.clear()
                say("The conversation is forgotten.")
            case let command where command == "/think" || command == "/no_think":
                session.thinking = command == "/think"
                say("Thinking is \(session.thinking == true ? "on" : "off").")
            case let message where message.hasPrefix("/think ") || message.hasPrefix("/no_think "):
                // Qwen3 reads the switch in a message, for this turn on.
                try answer(line)
            case let command where command.hasPrefix("/"):
                say("There is no command \(command); there are /clear, /think, /no_think and /quit.")
            default: try answer(line)
            }
        }
        if isTerminal { try write("\n") }
    }

    private func answer(_ line: String) throws {
        interrupt.isAwaited = true
        defer {
            interrupt.isAwaited = false
            interrupt.clear()
        }
        let turn: ChatSession.Turn
        do {
            turn = try session.respond(to: line, options: options) { piece in
                try write(piece.text)
                return !interrupt.isRaised
            }
        } catch let error as ApusError {
            // A message that is too long ends that turn, not the conversation.
            return say(error.message)
        }
        try write("\n")
        if turn.result.finishReason == .cancelled { say("(stopped)") }
        if turn.result.finishReason == .length { say("(the answer reached its limit of tokens)") }
        if !turn.droppedMessages.isEmpty {
            let first = turn.droppedMessages[0].content.prefix(40).split(whereSeparator: \.isNewline).joined(separator: " ")
            say("(the conversation outgrew the context: the oldest \(turn.droppedMessages.count) messages, from \"\(first)\" on, were dropped)")
        }
        let timings = turn.result.timings
        say(
            "[prompt \(timings.prefilledTokens) new of \(turn.result.promptTokens) tokens, \(Format.count(timings.prefillRate)) tok/s; "
                + "first token after \(Format.milliseconds(timings.firstToken)); answer \(turn.result.tokens.count) tokens, \(Format.count(timings.decodeRate)) tok/s]"
        )
        if let line = GenerationReport.speculation(turn.result) { say("[\(line)]") }
    }

    func say(_ text: String) { try? write((isTerminal ? "\u{1B}[2m\(text)\u{1B}[0m" : text) + "\n") }

    private func write(_ text: String) throws {
        try Output.standard.write(text)
        try Output.standard.flush()
    }
}

/// Ctrl-C as a flag. While no answer is being written the second one in a row ends the program, as people expect.
private final class Interrupt: @unchecked Sendable {
    private let flag = StopFlag()
    private let awaited = StopFlag()
    private let source: any DispatchSourceSignal

    init(isTerminal: Bool) {
        signal(SIGINT, SIG_IGN)
        source = DispatchSource.makeSignalSource(signal: SIGINT, queue: .global())
        let (flag, awaited) = (flag, awaited)
        source.setEventHandler {
            if flag.isSet { exit(130) }
            flag.set()
            guard isTerminal, !awaited.isSet else { return }
            try? Output.standard.write("\n(Ctrl-C once more, or /quit, ends)\n> ")
            try? Output.standard.flush()
        }
        source.resume()
    }

    var isRaised: Bool { flag.isSet }
    func clear() { flag.clear() }

    /// Whether an answer is being written, which looks at ``isRaised``.
    var isAwaited: Bool {
        get { awaited.isSet }
        set { if newValue { awaited.set() } else { awaited.clear() } }
    }
}
