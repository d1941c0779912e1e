/// Python's ways of cutting a text into pieces.
extension String {
    /// `split(separator, limit)`, from the right where `fromEnd` is set; the separator must not be empty.
    func split(by separator: String, limit: Int, fromEnd: Bool = false) -> [String] {
        var text = Array(utf8)
        var needle = Array(separator.utf8)
        if fromEnd {
            text.reverse()
            needle.reverse()
        }
        var pieces: [String] = []
        var start = 0
        func piece(_ range: Range<Int>) -> String { fromEnd ? String(utf8Bytes: text[range].reversed()) : String(utf8Bytes: text[range]) }
        for match in Self.matches(of: needle, in: text, limit: limit) {
            pieces.append(piece(start..<match))
            start = match + needle.count
        }
        pieces.append(piece(start..<text.count))
        return fromEnd ? pieces.reversed() : pieces
    }

    /// `split()` at runs of white space; what remains past `limit` cuts keeps its inner and far white space.
    func splitAtWhitespace(limit: Int, fromEnd: Bool = false) -> [String] {
        var scalars = Array(unicodeScalars)
        if fromEnd { scalars.reverse() }
        var pieces: [String] = []
        var index = 0
        func piece(_ range: Range<Int>) -> String { fromEnd ? String(scalars: scalars[range].reversed()) : String(scalars: scalars[range]) }
        while true {
            while index < scalars.count, scalars[index].isPythonWhitespace { index += 1 }
            guard index < scalars.count else { break }
            let start = index
            if pieces.count == limit {
                pieces.append(piece(start..<scalars.count))
                break
            }
            while index < scalars.count, !scalars[index].isPythonWhitespace { index += 1 }
            pieces.append(piece(start..<index))
        }
        return fromEnd ? pieces.reversed() : pieces
    }

    func splitLines(keepingEnds: Bool = false) -> [String] {
        let scalars = Array(unicodeScalars)
        var lines: [String] = []
        var start = 0
        while start < scalars.count {
            var end = start
            while end < scalars.count, !scalars[end].isPythonLineBreak { end += 1 }
            var next = end
            if next < scalars.count { next += scalars[next] == "\r" && next + 1 < scalars.count && scalars[next + 1] == "\n" ? 2 : 1 }
            lines.append(String(scalars: scalars[start..<(keepingEnds ? next : end)]))
            start = next
        }
        return lines
    }

    /// `replace(old, new, limit)`; an empty `old` matches before every code point and at the end.
    func replacing(_ old: String, with new: String, limit: Int) -> String {
        if old.isEmpty {
            var result = ""
            var left = limit
            for scalar in unicodeScalars {
                if left > 0 {
                    result += new
                    left -= 1
                }
                result.unicodeScalars.append(scalar)
            }
            return left > 0 ? result + new : result
        }
        let text = Array(utf8)
        let matches = Self.matches(of: Array(old.utf8), in: text, limit: limit)
        guard !matches.isEmpty else { return self }
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        var start = 0
        for match in matches {
            result += text[start..<match]
            result += new.utf8
            start = match + old.utf8.count
        }
        result += text[start...]
        return String(utf8Bytes: result)
    }
}
