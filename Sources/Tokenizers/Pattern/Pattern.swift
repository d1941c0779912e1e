/// A compiled pattern: the subset of Oniguruma's regular expressions that tokenizer files use.
///
/// Supported: alternatives, groups, `(?i:` for ASCII letters, classes with `\p{..}`, nesting and negation, `. ^ $ \A \z \Z`, the quantifiers
/// `* + ? {m,n}` greedy and lazy, possessive ones behind a single character or class, look-ahead of plain characters and classes.
/// A search takes time linear in the text for every pattern, and no stack. A pattern that makes it remember its states costs up to a bit a state for
/// each byte of text, and there are at most 1,024 of them; the patterns of known models never come to that.
package final class Pattern: Sendable {
    package struct Unsupported: Error {
        let message: String
    }

    let quick: PatternProgram
    let patient: PatternProgram

    package convenience init(_ text: String) throws(Unsupported) {
        guard text.utf8.count <= 1 << 14 else { throw Unsupported(message: "a pattern of more than 16,384 bytes is not supported") }
        let node: PatternNode
        do {
            node = try PatternParser.parse(text)
        } catch {
            throw Unsupported(message: error.message)
        }
        try self.init(node)
    }

    init(_ node: PatternNode) throws(Unsupported) {
        do {
            quick = try PatternProgram(node, usesSpans: true)
            patient = try PatternProgram(node, usesSpans: false)
        } catch {
            let limits = "\(PatternProgram.maximumInstructionCount) instructions or \(PatternProgram.maximumStateCount) states"
            throw Unsupported(message: "a pattern of more than \(limits) is not supported")
        }
    }

    private init(ownCopyOf other: Pattern) {
        quick = PatternProgram(ownCopyOf: other.quick)
        patient = PatternProgram(ownCopyOf: other.patient)
    }

    /// The same in memory that nobody shares; see ``PreTokenizer/ownCopy``.
    var ownCopy: Pattern { Pattern(ownCopyOf: self) }

    /// The byte ranges of all matches in `text`. With `patiently`, the program that remembers its states does all the work.
    package func matches(in text: String, patiently: Bool = false) -> [Range<Int>] {
        let bytes = Array(text.utf8)
        var search = PatternSearch(in: 0..<bytes.count, steps: patiently ? 0 : nil)
        var matches: [Range<Int>] = []
        while let match = search.next(self, in: bytes) { matches.append(match) }
        return matches
    }
}
