/// Finds stop strings in text that comes in pieces, across their borders.
///
/// The first stop string to be complete ends the text; among several complete at once the one that begins earliest. Text that may still turn out
/// to be the beginning of one is held back. How the text is cut into pieces makes no difference.
package struct StopStringMatcher: Sendable {
    private let stops: [[UInt8]]
    /// Text that is not handed out yet: a beginning of some stop string, so it starts at a character.
    private var held: [UInt8] = []
    package private(set) var isMatched = false

    package init(_ stopStrings: [String]) { stops = stopStrings.filter { !$0.isEmpty }.map { Array($0.utf8) } }

    /// Adds text and returns what is certain not to be part of a stop string.
    package mutating func append(_ text: String) -> String {
        guard !isMatched else { return "" }
        guard !stops.isEmpty else { return text }
        for byte in text.utf8 {
            held.append(byte)
            guard let longest = stops.filter({ held.suffix($0.count).elementsEqual($0) }).map(\.count).max() else { continue }
            isMatched = true
            return take(held.count - longest)
        }
        return take(held.count - longestBeginning)
    }

    /// What is still held back when no more text comes.
    package mutating func finish() -> String { isMatched ? "" : take(held.count) }

    /// Length of the longest end of `held` that begins a stop string.
    private var longestBeginning: Int {
        var longest = 0
        for stop in stops {
            var length = min(stop.count - 1, held.count)
            while length > longest {
                if held.suffix(length).elementsEqual(stop.prefix(length)) { longest = length }
                length -= 1
            }
        }
        return longest
    }

    private mutating func take(_ count: Int) -> String {
        let text = String(decoding: held.prefix(count), as: UTF8.self)
        held.removeFirst(isMatched ? held.count : count)
        return text
    }
}
