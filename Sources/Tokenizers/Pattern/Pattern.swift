/// A compiled pattern: the subset of Oniguruma's regular expressions that tokenizer files use.
///
/// Supported: alternatives, groups, `(?i:` for ASCII letters, classes with `\p{..}`, nesting and negation, `. ^ $ \A \z \Z`, the quantifiers
/// `* + ? {m,n}` greedy and lazy, possessive ones behind a single character or class, look-ahead of plain characters and classes.
/// A search takes time and memory linear in the text for every pattern, and no stack.
struct Pattern: Sendable {
    struct Unsupported: Error {
        let message: String
    }

    let quick: PatternProgram
    let patient: PatternProgram

    init(_ text: String) throws(Unsupported) {
        guard text.utf8.count <= 100_000 else { throw Unsupported(message: "a pattern of more than 100,000 bytes is not supported") }
        let node: PatternNode
        do {
            node = try PatternParser.parse(text)
        } catch {
            throw Unsupported(message: error.message)
        }
        try self.init(node)
    }

    /// A pattern that matches `text` itself.
    init(literal text: String) throws(Unsupported) {
        try self.init(.sequence(text.unicodeScalars.map { .set(ScalarSet($0.value)) }))
    }

    init(_ node: PatternNode) throws(Unsupported) {
        do {
            quick = try PatternProgram(node, usesSpans: true)
            patient = try PatternProgram(node, usesSpans: false)
        } catch {
            throw Unsupported(message: "a pattern of more than \(PatternProgram.maximumInstructionCount) instructions is not supported")
        }
    }
}
