/// Searching and cutting by code points, exactly: Swift's own operators would take canonically equivalent texts for equal ones.
///
/// All work on UTF-8 bytes, whose order and matches are those of the code points.
extension String {
    /// Equality of code points, as Python has it.
    func isIdentical(to other: String) -> Bool { utf8.count == other.utf8.count && utf8.elementsEqual(other.utf8) }

    /// Order of code points, as Python has it.
    func precedes(_ other: String) -> Bool { utf8.lexicographicallyPrecedes(other.utf8) }

    /// How many code points: Python's `len`.
    var scalarCount: Int { unicodeScalars.count }

    init(utf8Bytes bytes: some Collection<UInt8>) { self = String(decoding: bytes, as: UTF8.self) }

    /// Byte offsets of the matches of `needle` from left to right, without overlaps, at most `limit`. The needle must not be empty.
    static func matches(of needle: [UInt8], in text: [UInt8], limit: Int = .max) -> [Int] {
        var result: [Int] = []
        var start = 0
        while result.count < limit, let match = firstMatch(of: needle, in: text, from: start) {
            result.append(match)
            start = match + needle.count
        }
        return result
    }

    /// Knuth, Morris and Pratt's search for all but the shortest needles, so that no template makes it quadratic.
    static func firstMatch(of needle: [UInt8], in text: [UInt8], from start: Int = 0) -> Int? {
        guard !needle.isEmpty else { return start <= text.count ? start : nil }
        guard text.count - start >= needle.count else { return nil }
        if needle.count <= 8 {
            var index = start
            while index <= text.count - needle.count {
                if text[index] == needle[0] {
                    var length = 1
                    while length < needle.count, text[index + length] == needle[length] { length += 1 }
                    if length == needle.count { return index }
                }
                index += 1
            }
            return nil
        }
        var fallback = [Int](repeating: 0, count: needle.count)
        var length = 0
        for index in 1..<needle.count {
            while length > 0, needle[index] != needle[length] { length = fallback[length - 1] }
            if needle[index] == needle[length] { length += 1 }
            fallback[index] = length
        }
        length = 0
        for index in start..<text.count {
            while length > 0, text[index] != needle[length] { length = fallback[length - 1] }
            if text[index] == needle[length] { length += 1 }
            if length == needle.count { return index - needle.count + 1 }
        }
        return nil
    }

    static func lastMatch(of needle: [UInt8], in text: [UInt8]) -> Int? {
        guard let match = firstMatch(of: needle.reversed(), in: text.reversed()) else { return nil }
        return text.count - match - needle.count
    }

    func containsText(_ needle: String) -> Bool {
        needle.isEmpty || Self.firstMatch(of: Array(needle.utf8), in: Array(utf8)) != nil
    }

    func startsWith(_ prefix: String) -> Bool { utf8.starts(with: prefix.utf8) }

    func endsWith(_ suffix: String) -> Bool {
        utf8.count >= suffix.utf8.count && utf8.suffix(suffix.utf8.count).elementsEqual(suffix.utf8)
    }

    /// Strips code points of `set`, or white space where that is nil, from the chosen ends.
    func stripped(_ set: String?, left: Bool = true, right: Bool = true) -> String {
        let members = set.map { Set($0.unicodeScalars) }
        func strips(_ scalar: Unicode.Scalar) -> Bool { members.map { $0.contains(scalar) } ?? scalar.isPythonWhitespace }
        var view = unicodeScalars[...]
        if left { while let first = view.first, strips(first) { view.removeFirst() } }
        if right { while let last = view.last, strips(last) { view.removeLast() } }
        return view.count == 0 ? "" : String(view)
    }
}
