/// Finds stop strings in text that comes in pieces, across their borders.
///
/// The first stop string to be complete ends the text; among several complete at once the one that begins earliest. Text that may still turn out
/// to be the beginning of one is held back. How the text is cut into pieces makes no difference. Works on bytes, in time linear in the text
/// whatever the stop strings are; as they are whole characters, no character is ever cut.
package struct StopStringMatcher: Sendable {
    /// Knuth, Morris and Pratt's automaton of one stop string.
    private struct Pattern: Sendable {
        let bytes: [UInt8]
        /// For each length, the length of the longest proper beginning that is also an end of that much of the pattern.
        private let fallbacks: [Int]
        /// How much of the pattern the text ends in.
        private(set) var matched = 0

        init(_ bytes: [UInt8]) {
            self.bytes = bytes
            var fallbacks = [Int](repeating: 0, count: bytes.count + 1)
            var length = 0
            for index in bytes.indices.dropFirst() {
                while length > 0, bytes[index] != bytes[length] { length = fallbacks[length] }
                if bytes[index] == bytes[length] { length += 1 }
                fallbacks[index + 1] = length
            }
            self.fallbacks = fallbacks
        }

        var isComplete: Bool { matched == bytes.count }

        /// Takes the next byte; not to be called once complete.
        mutating func advance(_ byte: UInt8) {
            while matched > 0, bytes[matched] != byte { matched = fallbacks[matched] }
            if bytes[matched] == byte { matched += 1 }
        }
    }

    private var patterns: [Pattern]
    private let includesMatch: Bool
    /// Text that is not handed out yet: a beginning of some stop string, so it starts at a character.
    private var held: [UInt8] = []
    package private(set) var isMatched = false

    /// - Parameters:
    ///   - stopStrings: empty ones are left out.
    ///   - includesMatch: whether the stop string that was found is handed out as the end of the text.
    package init(_ stopStrings: [String], includesMatch: Bool = false) {
        patterns = stopStrings.filter { !$0.isEmpty }.map { Pattern(Array($0.utf8)) }
        self.includesMatch = includesMatch
    }

    /// Adds text and returns what is certain not to be part of a stop string.
    package mutating func append(_ text: String) -> String {
        guard !isMatched else { return "" }
        guard !patterns.isEmpty else { return text }
        for byte in text.utf8 {
            held.append(byte)
            var found = 0
            for index in patterns.indices {
                patterns[index].advance(byte)
                if patterns[index].isComplete { found = max(found, patterns[index].bytes.count) }
            }
            guard found > 0 else { continue }
            isMatched = true
            return take(includesMatch ? held.count : held.count - found)
        }
        return take(held.count - (patterns.map(\.matched).max() ?? 0))
    }

    /// What is still held back when no more text comes.
    package mutating func finish() -> String { isMatched ? "" : take(held.count) }

    private mutating func take(_ count: Int) -> String {
        let text = String(decoding: held.prefix(count), as: UTF8.self)
        held.removeFirst(isMatched ? held.count : count)
        return text
    }
}
