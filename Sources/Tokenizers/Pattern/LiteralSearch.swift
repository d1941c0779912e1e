/// Finds a plain text in another, in time linear in both (Knuth, Morris and Pratt).
struct LiteralSearch: Sendable {
    let text: [UInt8]
    /// For each prefix length, the length of the longest proper prefix that is also its suffix.
    private let fallback: [Int]

    /// `text` must not be empty.
    init(_ text: [UInt8]) {
        self.text = text
        var fallback = [Int](repeating: 0, count: text.count)
        var length = 0
        for index in text.indices.dropFirst() {
            while length > 0, text[index] != text[length] { length = fallback[length - 1] }
            if text[index] == text[length] { length += 1 }
            fallback[index] = length
        }
        self.fallback = fallback
    }

    private init(ownCopyOf other: LiteralSearch) {
        text = other.text.ownCopy
        fallback = other.fallback.ownCopy
    }

    var ownCopy: LiteralSearch { LiteralSearch(ownCopyOf: self) }

    /// The start of the first occurrence that lies in `start..<end`.
    func next(in bytes: [UInt8], from start: Int, to end: Int) -> Int? {
        if text.count == 1 {
            let byte = text[0]
            var index = start
            while index < end {
                if bytes[index] == byte { return index }
                index += 1
            }
            return nil
        }
        var length = 0
        var index = start
        while index < end {
            while length > 0, bytes[index] != text[length] { length = fallback[length - 1] }
            if bytes[index] == text[length] { length += 1 }
            index += 1
            if length == text.count { return index - length }
        }
        return nil
    }
}
