/// What a `Split` or `Replace` step looks for.
enum TextPattern: Sendable {
    case literal(LiteralSearch)
    case pattern(Pattern)
    /// Every single scalar of a class.
    case scalar(ScalarSet)

    /// The same in memory that nobody shares; see ``PreTokenizer/ownCopy``.
    var ownCopy: TextPattern {
        switch self {
        case .literal(let search): .literal(search.ownCopy)
        case .pattern(let pattern): .pattern(pattern.ownCopy)
        case .scalar(let set): .scalar(set.ownCopy)
        }
    }

    /// Calls `body` with the matches in `range`, in order.
    func forEachMatch(in bytes: [UInt8], _ range: Range<Int>, _ body: (Range<Int>) -> Void) {
        switch self {
        case .literal(let search):
            var start = range.lowerBound
            while let found = search.next(in: bytes, from: start, to: range.upperBound) {
                start = found + search.text.count
                body(found..<start)
            }
        case .pattern(let pattern):
            guard !range.isEmpty else { return }
            var search = PatternSearch(in: range)
            while let match = search.next(pattern, in: bytes) { body(match) }
        case .scalar(let set):
            var index = range.lowerBound
            let kinds = ScalarKinds.shared
            while index < range.upperBound {
                let (scalar, next) = bytes.scalar(at: index)
                if set.contains(scalar, kinds) { body(index..<next) }
                index = next
            }
        }
    }

    /// The text with every match replaced, or nil where there is none.
    func replacingMatches(in bytes: [UInt8], with content: [UInt8]) -> [UInt8]? {
        var result: [UInt8]?
        var copied = 0
        forEachMatch(in: bytes, 0..<bytes.count) { match in
            if result == nil {
                var start: [UInt8] = []
                start.reserveCapacity(bytes.count + bytes.count / 4)
                result = start
            }
            result?.append(contentsOf: bytes[copied..<match.lowerBound])
            result?.append(contentsOf: content)
            copied = match.upperBound
        }
        result?.append(contentsOf: bytes[copied...])
        return result
    }
}
