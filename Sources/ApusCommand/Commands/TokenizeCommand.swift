import Apus
import ArgumentParser
import ModelHub
import Tokenizers

struct TokenizeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokenize", abstract: "Print the token ids of texts, one JSON array a line.",
        discussion: "Input is read as by embed. The special tokens that the tokenizer's post-processor adds are part of the ids.")

    @OptionGroup var model: ModelName

    @Option(help: "The texts: a file, or - for standard input.")
    var input: String

    @Flag(help: "Leave out the special tokens that the tokenizer adds.")
    var noSpecialTokens = false

    private static let chunk = 4096

    func run() async throws {
        var texts = try TextReader(path: input)
        let folder = try await model.folder(default: .text, parts: [.tokenizer])
        guard folder.contains(ModelFile.tokenizer) else { throw ValidationError("\(folder.name) has no tokenizer.json") }
        let tokenizer = try Tokenizer(json: folder.bytes(of: ModelFile.tokenizer))
        while case let texts = try texts.next(Self.chunk, isAwaited: { true }), !texts.isEmpty {
            let lines = texts.concurrentMap { JSONText.array(tokenizer.encode($0, addSpecialTokens: !noSpecialTokens)) }
            for line in lines { try Output.standard.writeLine(line) }
            // Whoever writes the texts as they come may wait for these, and what is ahead of a faulty line is not lost.
            try Output.standard.flush()
        }
        try Output.standard.close()
    }
}
