import Apus
import ArgumentParser
import Tensors
import Transformer

struct LogitsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logits", abstract: "Write the logits behind each of the given tokens, [n, vocabulary] float32.")

    @OptionGroup var model: DecoderArguments

    @Option(help: "Token ids, separated by commas.")
    var ids: String

    @Option(help: "The .npy file to write.")
    var output: String

    func run() async throws {
        let tokens = try TokenList.parse(ids)
        let generator = try Generator(model: await model.load(default: .text))
        let progress = ProgressLine("logits", unit: "tokens")
        defer { progress.finish() }
        let session = try generator.model.executor.makeSession()
        let vocabularySize = generator.model.spec.vocabularySize
        var writer = try NPYRowWriter(path: output, columnCount: vocabularySize)
        // The writer cannot be captured by the closure that receives the rows, so rows of a chunk are kept until it returns.
        for start in stride(from: 0, to: tokens.count, by: Self.chunk) {
            var rows: [[Float]] = []
            try session.extend(generator.model.modelIDs(tokens[start..<min(start + Self.chunk, tokens.count)])) { _, logits in rows.append(logits) }
            for row in rows { try writer.append(row) }
            progress.update(Double(start + rows.count), of: Double(tokens.count))
        }
        try writer.finish()
    }

    private static let chunk = 64
}
