import Apus
import ArgumentParser
import Dispatch
import Foundation
import Synchronization
import Tensors
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
        let embedder = try Embedder(model: await model.load(default: .embedding, replicas: gpus))
        if timing { Notice.write("loaded in \(Self.seconds(since: start)) s on \(embedder.deviceDescription)") }
        var options = EmbeddingOptions(dimensions: dimensions, overlong: noTruncate ? .refuse : .cut, tokenBudget: batchTokens)
        if let promptName { options.prompt = .named(promptName) }
        if let prompt { options.prompt = .text(prompt) }
        if explain { return try explainTexts(&texts, embedder, options) }
        try embedTexts(texts, embedder, options)
    }

    /// Reads and tokenises, computes, and writes side by side, each a chunk ahead of the next. A GPU has two chunks at once: while the last batches of
    /// one run out, it computes the first of the other.
    private func embedTexts(_ texts: TextReader, _ embedder: Embedder, _ options: EmbeddingOptions) throws {
        let progress = ProgressLine("embed", unit: "texts")
        defer { progress.finish() }
        let sink = try VectorSink(
            path: output, isNPY: format.map { $0 == .npy } ?? (output?.hasSuffix(".npy") ?? false), dimensions: dimensions ?? embedder.dimensions)
        let executors = embedder.model.executors
        let chunkSize = Self.chunk * executors.count
        let chunksAtOnce = executors.contains { $0.batchesInFlight > 1 } ? 2 : 1
        var reader = texts
        let chunks = Stage { () throws -> Chunk? in
            let start = ContinuousClock().now
            let lines = try reader.next(chunkSize)
            guard !lines.isEmpty else { return nil }
            let texts = try embedder.prepare(lines, options: options)
            return Chunk(texts: texts, share: reader.share, duration: ContinuousClock().now - start)
        }
        defer { chunks.abandon() }
        let writer = Drain(sink.append)
        let start = ContinuousClock().now
        let counter = TextCounter()
        var running: [Pending<Embedder.Result>] = []
        // No thread may use the GPU when this returns.
        defer { for computation in running { _ = try? computation.wait() } }
        var (started, done, tokens) = (0, 0, 0)
        var preparation = Duration.zero
        func finishFirst() throws {
            let result = try running.removeFirst().wait()
            for index in result.cutTexts {
                Notice.write("text \(done + index) was cut to the model's \(embedder.maximumTokens) tokens")
            }
            try writer.put(result.vectors)
            done += result.vectors.count
            tokens += result.tokenCount
        }
        while let chunk = try chunks.next() {
            started += chunk.texts.count
            preparation += chunk.duration
            // What is still to come is guessed from the share of the file that these texts took.
            let total = chunk.share.map { [started] in Double(started) / $0 }
            running.append(
                Pending {
                    var known = 0
                    return try embedder.embed(chunk.texts, options: options) { count, _ in
                        progress.update(Double(counter.add(count - known)), of: total)
                        known = count
                    }
                })
            if running.count == chunksAtOnce { try finishFirst() }
        }
        while !running.isEmpty { try finishFirst() }
        try writer.finish()
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

    private struct Chunk: Sendable {
        let texts: Embedder.PreparedTexts
        /// How much of the file is read with it.
        let share: Double?
        /// What reading and tokenising took.
        let duration: Duration
    }

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

/// Where vectors go, row by row: a matrix file or lines of JSON.
private final class VectorSink {
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

    func append(_ vectors: EmbeddingMatrix) throws {
        if let lines {
            for line in Self.format(vectors) { try lines.writeLine(line) }
        }
        // Taken out and put back: an optional of a noncopyable type cannot be changed in place.
        guard var writer = matrix.take() else { return }
        try writer.append(vectors.values)
        matrix = consume writer
    }

    /// The rows as JSON, on all cores: a float's shortest text costs more than computing it.
    private static func format(_ vectors: EmbeddingMatrix) -> [String] {
        let parts = 32
        let texts = Mutex([[String]](repeating: [], count: parts))
        DispatchQueue.concurrentPerform(iterations: parts) { part in
            let rows = vectors.count * part / parts..<vectors.count * (part + 1) / parts
            let lines = rows.map { JSONText.array(vectors[$0]) }
            texts.withLock { $0[part] = lines }
        }
        return texts.withLock { $0.flatMap { $0 } }
    }

    func finish() throws {
        try lines?.close()
        if let writer = matrix.take() { try writer.finish() }
    }
}
