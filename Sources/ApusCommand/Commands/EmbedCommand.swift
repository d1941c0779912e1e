import Apus
import ArgumentParser
import Foundation
import Tensors
import Tokenizers

struct EmbedCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "embed", abstract: "Turn texts into vectors.",
        discussion: """
            A .txt file holds one text a line; any other file, or standard input (-), one JSON string or one object with "text" a line. \
            Vectors come in the order of the texts: as one JSON array a line, or as a float32 .npy matrix.
            """)

    enum OutputFormat: String, CaseIterable, ExpressibleByArgument { case jsonl, npy }

    @OptionGroup var model: ModelArguments

    @Option(help: "The texts: a file, or - for standard input.")
    var input: String

    @Option(help: "Where the vectors go; standard output when left out.")
    var output: String?

    @Option(help: "jsonl or npy; by the output's name when left out.")
    var format: OutputFormat?

    @Option(help: "Put this prompt of the model folder before each text, such as query.")
    var promptName: String?

    @Option(help: "Put this text before each text.")
    var prompt: String?

    @Option(help: "Keep only so many leading dimensions and scale to length 1 again.")
    var dimensions: Int?

    @Flag(help: "Refuse texts that are too long for the model instead of cutting them.")
    var noTruncate = false

    @Option(help: "Most tokens computed together.")
    var batchTokens: Int = 8192

    @Flag(help: "Print each text as the model sees it, and its ids, instead of vectors.")
    var explain = false

    func validate() throws {
        if prompt != nil, promptName != nil { throw ValidationError("give --prompt or --prompt-name, not both") }
        if format == .npy, output == nil || output == "-" { throw ValidationError("--format npy needs --output FILE") }
        if batchTokens < 1 { throw ValidationError("--batch-tokens is \(batchTokens), expected at least 1") }
    }

    func run() async throws {
        var texts = try TextReader(path: input)
        let embedder = try Embedder(model: await model.load(default: .embedding))
        var options = EmbeddingOptions(dimensions: dimensions, overlong: noTruncate ? .refuse : .cut, tokenBudget: batchTokens)
        if let promptName { options.prompt = .named(promptName) }
        if let prompt { options.prompt = .text(prompt) }
        if explain { return try explainTexts(&texts, embedder, options) }

        let progress = ProgressLine("embed", unit: "texts")
        defer { progress.finish() }
        var sink = try VectorSink(
            path: output, isNPY: format.map { $0 == .npy } ?? (output?.hasSuffix(".npy") ?? false), dimensions: dimensions ?? embedder.dimensions)
        var done = 0
        while true {
            let chunk = try texts.next(Self.chunk)
            if chunk.isEmpty { break }
            // What is still to come is guessed from the share of the file that these texts took.
            let total = texts.share.map { Double(done + chunk.count) / $0 }
            let result = try embedder.embed(chunk, options: options) { count, _ in progress.update(Double(done + count), of: total) }
            for index in result.cutTexts {
                Notice.write("text \(done + index) was cut to the model's \(embedder.maximumTokens) tokens")
            }
            try sink.append(result.vectors)
            done += chunk.count
        }
        try sink.finish()
    }

    /// Texts that are read, sorted by length and computed together.
    private static let chunk = 4096

    private func explainTexts(_ texts: inout TextReader, _ embedder: Embedder, _ options: EmbeddingOptions) throws {
        while let text = try texts.next() {
            let rendered = try embedder.render(text, prompt: options.prompt)
            try Output.standard.writeLine("\(JSONText.quoted(rendered)) \(JSONText.array(embedder.tokenizer.encode(rendered)))")
        }
        try Output.standard.close()
    }
}

/// Where vectors go, row by row: a matrix file or lines of JSON.
private struct VectorSink: ~Copyable {
    private var matrix: NPYRowWriter?
    private let lines: Output?

    init(path: String?, isNPY: Bool, dimensions: Int) throws {
        if isNPY, let path {
            matrix = try NPYRowWriter(path: path, columnCount: dimensions)
            lines = nil
        } else {
            matrix = nil
            lines = try Output.open(path)
        }
    }

    mutating func append(_ vectors: EmbeddingMatrix) throws {
        if let lines {
            for row in 0..<vectors.count { try lines.writeLine(JSONText.array(vectors[row])) }
        }
        // Taken out and put back: an optional of a noncopyable type cannot be changed in place.
        guard var writer = matrix.take() else { return }
        try writer.append(vectors.values)
        matrix = consume writer
    }

    consuming func finish() throws {
        try lines?.close()
        if let matrix { try matrix.finish() }
    }
}
