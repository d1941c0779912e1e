/// The pre-tokenizer of a file: a list of steps, each of which cuts the pieces of the one before it or rewrites them.
struct PreTokenizer: Sendable {
    enum PrependScheme: String, Sendable { case always, first, never }

    enum Step: Sendable {
        case split(TextPattern, SplitBehavior, inverted: Bool)
        /// Writes bytes as characters of ``ByteAlphabet``; `pattern` is GPT-2's, where it splits too.
        case byteLevel(addsPrefixSpace: Bool, TextPattern?)
        case metaspace(replacement: [UInt8], PrependScheme, splits: Bool)
    }

    /// What a word's bytes are.
    enum WordForm { case text, bytesOfByteLevel }

    var steps: [Step] = []

    /// Whether some step asks if a piece starts where its text started.
    var asksForOrigin: Bool {
        steps.contains { if case .metaspace(_, .first, _) = $0 { true } else { false } }
    }

    /// Whether words reach the model as characters of the byte alphabet.
    var endsInByteLevel: Bool {
        if case .byteLevel = steps.last { true } else { false }
    }

    /// Calls `body` with every word of `text`, in order. The first `originCount` bytes stand where the whole text started.
    func forEachWord(of text: [UInt8], originCount: Int, _ body: ([UInt8], Range<Int>, WordForm) -> Void) {
        run(0, text, 0..<text.count, originCount, body)
    }

    private func run(_ index: Int, _ text: [UInt8], _ range: Range<Int>, _ origin: Int, _ body: ([UInt8], Range<Int>, WordForm) -> Void) {
        guard !range.isEmpty else { return }
        guard index < steps.count else {
            body(text, range, .text)
            return
        }
        let isLast = index == steps.count - 1
        switch steps[index] {
        case .split(let pattern, let behavior, let inverted):
            behavior.forEachPiece(of: range, in: text, splitBy: pattern, inverted: inverted) { piece in
                if isLast { body(text, piece, .text) } else { run(index + 1, text, piece, origin, body) }
            }
        case .byteLevel(let addsPrefixSpace, let pattern):
            let needsSpace = addsPrefixSpace && text[range.lowerBound] != 0x20
            let origin = needsSpace && origin > range.lowerBound ? origin - range.lowerBound + 1 : needsSpace ? 0 : origin
            let text = needsSpace ? [0x20] + text[range] : text
            let range = needsSpace ? 0..<text.count : range
            func emit(_ piece: Range<Int>) {
                if isLast {
                    body(text, piece, .bytesOfByteLevel)
                } else {
                    var mapped: [UInt8] = []
                    let front = piece.clamped(to: 0..<max(0, origin))
                    ByteAlphabet.append(text, front, to: &mapped)
                    let newOrigin = mapped.count
                    ByteAlphabet.append(text, front.isEmpty ? piece : front.upperBound..<piece.upperBound, to: &mapped)
                    run(index + 1, mapped, 0..<mapped.count, newOrigin, body)
                }
            }
            if let pattern {
                SplitBehavior.isolated.forEachPiece(of: range, in: text, splitBy: pattern, inverted: false, emit)
            } else {
                emit(range)
            }
        case .metaspace(let replacement, let scheme, let splits):
            var spaced: [UInt8] = []
            spaced.reserveCapacity(range.count + range.count / 4 + replacement.count)
            let startsWithReplacement = text[range].starts(with: replacement) || text[range.lowerBound] == 0x20
            let isAtOrigin = range.lowerBound < origin
            if !startsWithReplacement, scheme == .always || (scheme == .first && isAtOrigin) { spaced += replacement }
            var newOrigin = isAtOrigin ? spaced.count : 0
            for position in range {
                if text[position] == 0x20 { spaced += replacement } else { spaced.append(text[position]) }
                if position < origin { newOrigin = spaced.count }
            }
            guard splits else {
                run(index + 1, spaced, 0..<spaced.count, newOrigin, body)
                return
            }
            let pattern = TextPattern.literal(LiteralSearch(replacement))
            SplitBehavior.mergedWithNext.forEachPiece(of: 0..<spaced.count, in: spaced, splitBy: pattern, inverted: false) { piece in
                run(index + 1, spaced, piece, newOrigin, body)
            }
        }
    }
}
