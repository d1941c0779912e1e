/// The syntax tree of a pattern.
indirect enum PatternNode: Sendable {
    case empty
    case set(ScalarSet)
    case sequence([PatternNode])
    case alternatives([PatternNode])
    case `repeat`(PatternNode, minimum: Int, maximum: Int?, Greed)
    /// `(?=...)` and `(?!...)`: alternatives of plain runs of sets, so that looking costs a bounded number of steps.
    case look([[ScalarSet]], negative: Bool)
    case anchor(Anchor)

    enum Greed: Sendable { case greedy, lazy, possessive }

    enum Anchor: Sendable {
        /// `^`: the start of the text or behind a line feed.
        case lineStart
        /// `$`: the end of the text or before a line feed.
        case lineEnd
        /// `\A`
        case textStart
        /// `\z`
        case textEnd
        /// `\Z`: the end of the text or before a line feed that ends it.
        case textEndBeforeNewline
    }

    /// What a match of the node can start with.
    struct FirstSet {
        var low: UInt64 = 0
        var high: UInt64 = 0
        var beyondASCII = false
        var canBeEmpty = true

        mutating func formUnion(_ other: FirstSet) {
            low |= other.low
            high |= other.high
            beyondASCII = beyondASCII || other.beyondASCII
        }
    }

    var first: FirstSet {
        switch self {
        case .empty, .look, .anchor:
            return FirstSet()
        case .set(let set):
            return FirstSet(low: set.ascii.low, high: set.ascii.high, beyondASCII: !set.isASCIIOnly, canBeEmpty: false)
        case .sequence(let nodes):
            var result = FirstSet()
            for node in nodes {
                let first = node.first
                result.formUnion(first)
                if !first.canBeEmpty {
                    result.canBeEmpty = false
                    break
                }
            }
            return result
        case .alternatives(let nodes):
            var result = FirstSet(canBeEmpty: false)
            for node in nodes {
                let first = node.first
                result.formUnion(first)
                result.canBeEmpty = result.canBeEmpty || first.canBeEmpty
            }
            return result
        case .repeat(let node, let minimum, _, _):
            var result = node.first
            if minimum == 0 { result.canBeEmpty = true }
            return result
        }
    }
}
