/// Finds added tokens in text: the leftmost first, of those that start at one place the longest.
struct AddedTokenMatcher: Sendable {
    struct Entry: Sendable {
        let text: [UInt8]
        let token: AddedToken
    }

    /// What a text is made of.
    enum Part {
        case text(Range<Int>)
        case token(Int32)
    }

    /// Sorted by their bytes, so that the entries with a common prefix are neighbours.
    private let entries: [Entry]
    /// [byte] the first entry that starts with it; one more at the end
    private let firstEntry: [Int]

    var isEmpty: Bool { entries.isEmpty }

    init(_ entries: [Entry]) {
        let sorted = entries.sorted { $0.text.lexicographicallyPrecedes($1.text) }
        self.entries = sorted
        var counts = [Int](repeating: 0, count: 257)
        for entry in sorted { counts[Int(entry.text[0]) + 1] += 1 }
        for byte in 1...256 { counts[byte] += counts[byte - 1] }
        firstEntry = counts
    }

    /// Calls `body` with the parts of `text` in order. With `skippingSpecial`, special tokens are found and passed over like plain text.
    func forEachPart(of text: [UInt8], skippingSpecial: Bool, _ body: (Part) -> Void) {
        var done = 0
        var search = 0
        while let (match, entry) = nextMatch(in: text, from: search) {
            search = match.upperBound
            let token = entry.token
            if skippingSpecial, token.isSpecial { continue }
            if token.isSingleWord, !standsAlone(match, in: text) { continue }
            var start = match.lowerBound
            var stop = match.upperBound
            if token.stripsLeft { start = max(leftmostSpace(before: start, in: text, notBefore: done), done) }
            if token.stripsRight { stop = rightmostSpace(from: stop, in: text) }
            if done < start { body(.text(done..<start)) }
            body(.token(Int32(truncatingIfNeeded: token.id)))
            done = stop
        }
        if done < text.count { body(.text(done..<text.count)) }
    }

    private func nextMatch(in text: [UInt8], from start: Int) -> (Range<Int>, Entry)? {
        guard !entries.isEmpty else { return nil }
        var position = start
        while position < text.count {
            let byte = Int(text[position])
            var low = firstEntry[byte]
            var high = firstEntry[byte + 1]
            var depth = 1
            var best = -1
            while low < high {
                if entries[low].text.count == depth {
                    best = low
                    low += 1
                }
                guard position + depth < text.count, low < high else { break }
                let wanted = text[position + depth]
                low = boundary(low, high) { entries[$0].text[depth] < wanted }
                high = boundary(low, high) { entries[$0].text[depth] == wanted }
                depth += 1
            }
            if best >= 0 { return (position..<position + entries[best].text.count, entries[best]) }
            position += 1
        }
        return nil
    }

    /// The first index of `low..<high` for which `isBefore` is false.
    @inline(__always)
    private func boundary(_ low: Int, _ high: Int, _ isBefore: (Int) -> Bool) -> Int {
        var low = low
        var high = high
        while low < high {
            let middle = (low + high) / 2
            if isBefore(middle) { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private func standsAlone(_ match: Range<Int>, in text: [UInt8]) -> Bool {
        let kinds = ScalarKinds.shared
        if match.lowerBound > 0, kinds.has(.identifier, text.scalar(before: match.lowerBound).value) { return false }
        return match.upperBound == text.count || !kinds.has(.identifier, text.scalar(at: match.upperBound).value)
    }

    private func leftmostSpace(before end: Int, in text: [UInt8], notBefore limit: Int) -> Int {
        var start = end
        while start > limit {
            let (scalar, before) = text.scalar(before: start)
            guard ScalarKinds.shared.has(.space, scalar) else { break }
            start = before
        }
        return start
    }

    private func rightmostSpace(from start: Int, in text: [UInt8]) -> Int {
        var end = start
        while end < text.count {
            let (scalar, next) = text.scalar(at: end)
            guard ScalarKinds.shared.has(.space, scalar) else { break }
            end = next
        }
        return end
    }
}
