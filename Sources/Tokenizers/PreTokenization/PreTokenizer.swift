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

    private let steps: [Step]
    /// What reaches the model from the steps' end. A last step that only writes bytes as characters is this and no step: nothing is done a word.
    private let lastForm: WordForm
    /// Whether some step asks if a piece starts where its text started.
    let asksForOrigin: Bool
    /// Whether words reach the model as characters of the byte alphabet.
    let endsInByteLevel: Bool

    init(_ steps: [Step] = []) {
        asksForOrigin = steps.contains { if case .metaspace(_, .first, _) = $0 { true } else { false } }
        endsInByteLevel = if case .byteLevel = steps.last { true } else { false }
        if case .byteLevel(false, nil) = steps.last {
            self.steps = steps.dropLast()
            lastForm = .bytesOfByteLevel
        } else {
            self.steps = steps
            lastForm = .text
        }
    }

    private init(ownCopyOf other: PreTokenizer) {
        steps = other.steps.map(\.ownCopy)
        lastForm = other.lastForm
        asksForOrigin = other.asksForOrigin
        endsInByteLevel = other.endsInByteLevel
    }

    /// The same steps in memory of their own.
    ///
    /// What is done for every word may touch the reference counts of steps and patterns. Threads that share them would write to the same few bytes of
    /// memory all the time, and sixteen would be no faster than two; so each has its own.
    var ownCopy: PreTokenizer { PreTokenizer(ownCopyOf: self) }

    /// Calls `body` with every word of `text`, in order. The first `originCount` bytes stand where the whole text started.
    func forEachWord(of text: [UInt8], originCount: Int, _ body: ([UInt8], Range<Int>, WordForm) -> Void) {
        run(0, text, 0..<text.count, originCount, body)
    }

    private func run(_ index: Int, _ text: [UInt8], _ range: Range<Int>, _ origin: Int, _ body: ([UInt8], Range<Int>, WordForm) -> Void) {
        guard !range.isEmpty else { return }
        guard index < steps.count else {
            body(text, range, lastForm)
            return
        }
        let isLast = index == steps.count - 1
        switch steps[index] {
        case .split(let pattern, let behavior, let inverted):
            behavior.forEachPiece(of: range, in: text, splitBy: pattern, inverted: inverted) { piece in
                if isLast { body(text, piece, lastForm) } else { run(index + 1, text, piece, origin, body) }
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

extension PreTokenizer.Step {
    fileprivate var ownCopy: Self {
        switch self {
        case .split(let pattern, let behavior, let inverted): .split(pattern.ownCopy, behavior, inverted: inverted)
        case .byteLevel(let addsPrefixSpace, let pattern): .byteLevel(addsPrefixSpace: addsPrefixSpace, pattern?.ownCopy)
        case .metaspace(let replacement, let scheme, let splits): .metaspace(replacement: replacement.ownCopy, scheme, splits: splits)
        }
    }
}
