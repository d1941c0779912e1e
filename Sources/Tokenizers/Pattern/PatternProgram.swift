/// A pattern as instructions for ``PatternSearch``.
///
/// Every pattern is compiled twice. The quick program runs `\p{L}+` as one instruction that scans; the patient program spells every loop out so that
/// each of its states can be remembered, which makes its time linear in the text for any pattern.
///
/// A class whose fields never change: threads share programs, and a search that is handed one touches no reference count of its arrays.
final class PatternProgram: Sendable {
    enum Operation: UInt8, Sendable {
        /// One scalar of set `first`.
        case set
        /// As many scalars of set `first` as there are, from `second` to `third`; gives back one at a time.
        case span
        /// The same, giving nothing back.
        case possessiveSpan
        /// An endless possessive loop over set `first`; `number` is its state.
        case possessiveLoop
        /// Goes on at `first`, and when that fails at `second`; `number` is its state.
        case split
        /// Goes on at `first`.
        case jump
        /// Look-ahead `first`.
        case look
        /// Anchor number `first`.
        case anchor
        case accept
    }

    struct Instruction: Sendable {
        var operation: Operation
        var first = 0
        var second = 0
        var third = 0
        var number = 0
    }

    /// A ``ScalarSet`` whose ranges lie in ``PatternProgram/ranges``.
    struct CompactSet: Sendable {
        let low: UInt64
        let high: UInt64
        let kinds: UInt64
        let isNegated: Bool
        let rangeStart: Int
        let rangeEnd: Int
    }

    struct Look: Sendable {
        /// Alternatives, each a run of set indices.
        let runs: [[Int]]
        let isNegative: Bool
    }

    struct TooLarge: Error {}

    static let maximumInstructionCount = 20_000
    static let maximumStateCount = 1024
    /// Rows of ``entries``: one an ASCII byte, one for all other scalars, one for the end of the text.
    static let beyondASCIIRow = 128
    static let endRow = 129

    let instructions: [Instruction]
    let sets: [CompactSet]
    let ranges: [ClosedRange<UInt32>]
    let looks: [Look]
    let anchors: [PatternNode.Anchor]
    /// How many states a patient search remembers at each place.
    let stateCount: Int
    /// For what stands at a place, the starts of the top alternatives that can match there: `entries[entryBounds[row]..<entryBounds[row + 1]]`.
    let entries: [Int]
    let entryBounds: [Int]

    init(_ node: PatternNode, usesSpans: Bool) throws(TooLarge) {
        let compiler = try PatternCompiler(node, usesSpans: usesSpans)
        instructions = compiler.instructions
        sets = compiler.sets
        ranges = compiler.ranges
        looks = compiler.looks
        anchors = compiler.anchors
        stateCount = compiler.stateCount
        entries = compiler.entries
        entryBounds = compiler.entryBounds
    }

    init(ownCopyOf other: PatternProgram) {
        instructions = other.instructions.ownCopy
        sets = other.sets.ownCopy
        ranges = other.ranges.ownCopy
        looks = other.looks.map { Look(runs: $0.runs.map(\.ownCopy), isNegative: $0.isNegative) }
        anchors = other.anchors.ownCopy
        stateCount = other.stateCount
        entries = other.entries.ownCopy
        entryBounds = other.entryBounds.ownCopy
    }
}

extension PatternProgram {
    @inline(__always)
    func matches(_ index: Int, ascii byte: UInt8) -> Bool {
        let set = sets[index]
        return (byte < 64 ? set.low >> UInt64(byte) : set.high >> UInt64(byte & 63)) & 1 != 0
    }

    @inline(__always)
    func matches(_ index: Int, beyondASCII scalar: UInt32, _ kinds: ScalarKinds) -> Bool {
        let set = sets[index]
        if set.kinds >> UInt64(kinds.kind(of: scalar)) & 1 != 0 { return !set.isNegated }
        if set.rangeStart == set.rangeEnd { return set.isNegated }
        return isInRanges(set, scalar) != set.isNegated
    }

    private func isInRanges(_ set: CompactSet, _ scalar: UInt32) -> Bool {
        var low = set.rangeStart
        var high = set.rangeEnd
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound < scalar { low = middle + 1 } else { high = middle }
        }
        return low < set.rangeEnd && ranges[low].lowerBound <= scalar
    }
}

extension Array {
    /// The same elements in memory of their own, with a reference count of its own.
    var ownCopy: [Element] { map { $0 } }
}
