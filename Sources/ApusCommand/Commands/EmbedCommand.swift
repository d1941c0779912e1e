import Apus
import ArgumentParser
import Foundation
import Synchronization
import Tokenizers
import Transformer

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

    @Option(help: "Most tokens computed together; what suits the device when left out.")
    var batchTokens: Int?

    @Option(help: "GPUs that share the texts, from the device on: a number, or all.")
    var gpus: ReplicaCount = .count(1)

    @Flag(help: "Print each text as the model sees it, and its ids, instead of vectors.")
    var explain = false

    @Flag(help: "Say on stderr what loading and computing took.")
    var timing = false

    func validate() throws {
        if prompt != nil, promptName != nil { throw ValidationError("give --prompt or --prompt-name, not both") }
        if format == .npy, output == nil || output == "-" { throw ValidationError("--format npy needs --output FILE") }
        if let batchTokens, batchTokens < 1 { throw ValidationError("--batch-tokens is \(batchTokens), expected at least 1") }
    }

    func run() async throws {
        var texts = try TextReader(path: input)
        let start = ContinuousClock().now
        let embedder = try Embedder(model: await model.load(default: .embedding, replicas: gpus, preparesVectors: true))
        if timing { Notice.write("loaded in \(Self.seconds(since: start)) s on \(embedder.deviceDescription)") }
        var options = EmbeddingOptions(dimensions: dimensions, overlong: noTruncate ? .refuse : .cut, tokenBudget: batchTokens)
        if let promptName { options.prompt = .named(promptName) }
        if let prompt { options.prompt = .text(prompt) }
        if explain { return try explainTexts(&texts, embedder, options) }
        try embedTexts(texts, embedder, options)
    }

    /// Reads and tokenises, computes, and writes side by side, each a chunk ahead of the next. A GPU has two chunks at once: while the last batches of
    /// one run out, it computes the first of the other. What is ready is written at once, also when the next texts are long in coming; and what is
    /// ahead of a faulty text is written before its fault ends the program.
    private func embedTexts(_ texts: TextReader, _ embedder: Embedder, _ options: EmbeddingOptions) throws {
        let progress = ProgressLine("embed", unit: "texts")
        defer { progress.finish() }
        let sink = try VectorSink(
            path: output, isNPY: format.map { $0 == .npy } ?? (output?.hasSuffix(".npy") ?? false), dimensions: dimensions ?? embedder.dimensions)
        let executors = embedder.model.executors
        var reader = ChunkReader(texts: texts, embedder: embedder, options: options, chunkSize: Self.chunk * executors.count)
        let chunks = Stage { isAwaited in try reader.next(isAwaited: isAwaited) }
        let writer = Drain(sink.append)
        let start = ContinuousClock().now
        let counter = TextCounter()
        var (done, tokens) = (0, 0)
        var preparation = Duration.zero
        do {
            try Lanes.run(
                chunks, count: executors.contains { $0.batchesInFlight > 1 } ? 2 : 1,
                compute: { chunk in
                    var known = 0
                    return (
                        try embedder.embed(chunk.texts, options: options) { count, _ in
                            progress.update(Double(counter.add(count - known)), of: chunk.expectedTextCount)
                            known = count
                        }, chunk.duration
                    )
                }
            ) { result, duration in
                for index in result.cutTexts {
                    Notice.write("text \(done + index) was cut to the model's \(embedder.maximumTokens) tokens")
                }
                try writer.put(result.vectors)
                done += result.vectors.count
                tokens += result.tokenCount
                preparation += duration
            }
            try writer.finish()
        } catch {
            // What was computed is not lost; the fault that ended it is the one to tell.
            try? writer.finish()
            try? sink.keepUnfinished()
            throw error
        }
        try sink.finish()
        if timing {
            let seconds = (ContinuousClock().now - start) / .seconds(1)
            let host = String(format: "%.2f", preparation / .seconds(1))
            Notice.write(
                "\(done) texts, \(tokens) tokens, reading and writing included: \(Self.seconds(since: start)) s, \(Format.count(Double(tokens) / seconds)) tok/s; "
                    + "reading and tokenising, beside it: \(host) s")
        }
    }

    private static func seconds(since start: ContinuousClock.Instant) -> String {
        String(format: "%.2f", (ContinuousClock().now - start) / .seconds(1))
    }

    /// Texts that are read, sorted by length and computed together, for each GPU.
    private static let chunk = 4096

    private func explainTexts(_ texts: inout TextReader, _ embedder: Embedder, _ options: EmbeddingOptions) throws {
        while let text = try texts.next() {
            let rendered = try embedder.render(text, prompt: options.prompt)
            try Output.standard.writeLine("\(JSONText.quoted(rendered)) \(JSONText.array(embedder.tokenizer.encode(rendered)))")
        }
        try Output.standard.close()
    }
}

/// Counts the texts of all chunks that are computed.
private final class TextCounter: Sendable {
    private let count = Atomic(0)

    func add(_ texts: Int) -> Int { count.wrappingAdd(texts, ordering: .relaxed).newValue }
}
