import Apus

/// Texts that are read, tokenised and computed together.
struct EmbeddingChunk: Sendable {
    let texts: Embedder.PreparedTexts
    /// Texts of the whole input, guessed from the share of it that was read; nil where its size is not known.
    let expectedTextCount: Double?
    /// What reading and tokenising took.
    let duration: Duration
}

/// Reads and tokenises texts chunk by chunk. A fault is thrown behind the texts ahead of it.
struct ChunkReader {
    private var texts: TextReader
    private let embedder: Embedder
    private let options: EmbeddingOptions
    private let chunkSize: Int
    private var textCount = 0
    private var fault: (any Error)?

    init(texts: TextReader, embedder: Embedder, options: EmbeddingOptions, chunkSize: Int) {
        self.texts = texts
        self.embedder = embedder
        self.options = options
        self.chunkSize = chunkSize
    }

    /// The next chunk, nil behind the last; a small one where somebody waits and further texts are not there yet.
    mutating func next(isAwaited: () -> Bool) throws -> EmbeddingChunk? {
        if let fault { throw fault }
        let start = ContinuousClock().now
        // The first chunk is half as large, so that of two that are computed side by side one is in its middle when the other ends.
        let lines = try texts.next(textCount == 0 ? max(1, chunkSize / 2) : chunkSize, isAwaited: isAwaited)
        guard !lines.isEmpty else { return nil }
        let (prepared, fault) = try embedder.prepareLeading(lines, options: options, number: textCount)
        self.fault = fault
        if let fault, prepared.count == 0 { throw fault }
        textCount += prepared.count
        return EmbeddingChunk(
            texts: prepared, expectedTextCount: texts.share.map { Double(textCount) / $0 }, duration: ContinuousClock().now - start)
    }
}
