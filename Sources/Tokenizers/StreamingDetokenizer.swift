/// Turns ids into text as they come, one at a time.
///
/// Each call gives the text that no later id can change, which may be none: bytes of an unfinished character are held back, and so is a run of byte
/// tokens (`<0xE2>`) until it ends. All pieces together, with that of ``finish()``, are `Tokenizer.decode` of all ids. The cost of an id does not
/// depend on how many went before it.
///
///     var detokenizer = StreamingDetokenizer(tokenizer)
///     for id in ids { print(detokenizer.append(id), terminator: "") }
///     print(detokenizer.finish())
public struct StreamingDetokenizer: Sendable {
    private let tokenizer: Tokenizer
    private let skipSpecialTokens: Bool
    private var stages: [any DecoderStage]

    public init(_ tokenizer: Tokenizer, skipSpecialTokens: Bool = true) {
        self.tokenizer = tokenizer
        self.skipSpecialTokens = skipSpecialTokens
        stages = tokenizer.decoder.makeStages()
    }

    /// Takes the next id and returns the text that has become certain, possibly none. An id that is no token adds nothing.
    public mutating func append(_ id: Int) -> String {
        var text: [UInt8] = []
        append(id, to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    /// Returns what was held back. The detokenizer is then as new.
    public mutating func finish() -> String {
        var text: [UInt8] = []
        finish(to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    mutating func append(_ id: Int, to text: inout [UInt8]) {
        if let token = keptToken(id) { pass([token], from: 0, to: &text) }
    }

    /// Many ids at once, which saves most of the cost of one.
    mutating func append(contentsOf ids: some Sequence<Int>, to text: inout [UInt8]) {
        let chunkSize = 256
        var tokens: [[UInt8]] = []
        for id in ids {
            guard let token = keptToken(id) else { continue }
            tokens.append(token)
            if tokens.count == chunkSize {
                pass(tokens, from: 0, to: &text)
                tokens.removeAll(keepingCapacity: true)
            }
        }
        pass(tokens, from: 0, to: &text)
    }

    private func keptToken(_ id: Int) -> [UInt8]? {
        if skipSpecialTokens, let id = Int32(exactly: id), tokenizer.skippedIDs.contains(id) { return nil }
        return tokenizer.tokenBytes(id)
    }

    mutating func finish(to text: inout [UInt8]) {
        for index in stages.indices {
            var tokens: [[UInt8]] = []
            stages[index].finish(to: &tokens)
            pass(tokens, from: index + 1, to: &text)
        }
        stages = tokenizer.decoder.makeStages()
    }

    private mutating func pass(_ tokens: [[UInt8]], from start: Int, to text: inout [UInt8]) {
        var tokens = tokens
        for index in start..<max(start, stages.count) where !tokens.isEmpty {
            var next: [[UInt8]] = []
            for token in tokens { stages[index].take(token, to: &next) }
            tokens = next
        }
        for token in tokens { text += token }
    }
}
