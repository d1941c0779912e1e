/// What becomes of the matches of a splitting pattern. `-` in `the-final--countdown` gives:
enum SplitBehavior: String, Sendable, CaseIterable {
    /// the, final, countdown
    case removed = "Removed"
    /// the, -, final, -, -, countdown
    case isolated = "Isolated"
    /// the-, final-, -, countdown
    case mergedWithPrevious = "MergedWithPrevious"
    /// the, -final, -, -countdown
    case mergedWithNext = "MergedWithNext"
    /// the, -, final, --, countdown
    case contiguous = "Contiguous"

    /// Calls `body` with the pieces of `range` that are left, none of them empty.
    func forEachPiece(
        of range: Range<Int>, in bytes: [UInt8], splitBy pattern: TextPattern, inverted: Bool, _ body: (Range<Int>) -> Void
    ) {
        var previous = range.lowerBound
        switch self {
        case .isolated:
            pattern.forEachMatch(in: bytes, range) { match in
                if previous < match.lowerBound { body(previous..<match.lowerBound) }
                if !match.isEmpty { body(match) }
                previous = match.upperBound
            }
            if previous < range.upperBound { body(previous..<range.upperBound) }
        case .removed:
            pattern.forEachMatch(in: bytes, range) { match in
                let kept = inverted ? match : previous..<match.lowerBound
                if !kept.isEmpty { body(kept) }
                previous = match.upperBound
            }
            if !inverted, previous < range.upperBound { body(previous..<range.upperBound) }
        case .mergedWithPrevious, .mergedWithNext, .contiguous:
            var segments: [(range: Range<Int>, isMatch: Bool)] = []
            pattern.forEachMatch(in: bytes, range) { match in
                if previous < match.lowerBound { segments.append((previous..<match.lowerBound, inverted)) }
                segments.append((match, !inverted))
                previous = match.upperBound
            }
            if previous < range.upperBound { segments.append((previous..<range.upperBound, inverted)) }
            for piece in merged(segments) where !piece.isEmpty { body(piece) }
        }
    }

    private func merged(_ segments: [(range: Range<Int>, isMatch: Bool)]) -> [Range<Int>] {
        var pieces: [Range<Int>] = []
        var previousIsMatch = false
        let runsBackwards = self == .mergedWithNext
        for index in segments.indices {
            let (range, isMatch) = segments[runsBackwards ? segments.count - 1 - index : index]
            let joins = self == .contiguous ? isMatch == previousIsMatch : isMatch && !previousIsMatch
            if joins, let last = pieces.last {
                pieces[pieces.count - 1] = runsBackwards ? range.lowerBound..<last.upperBound : last.lowerBound..<range.upperBound
            } else {
                pieces.append(range)
            }
            previousIsMatch = isMatch
        }
        if runsBackwards { pieces.reverse() }
        return pieces
    }
}
