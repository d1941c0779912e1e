/// A pattern as instructions for ``PatternSearch``.
///
/// Every pattern is compiled twice. The quick program runs `\p{L}+` as one instruction that scans; the patient program spells every loop out so that
/// each of its states can be remembered, which makes its time linear in the text for any pattern.
struct PatternProgram: Sendable {
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

    private(set) var instructions: [Instruction] = []
    private(set) var sets: [CompactSet] = []
    private(set) var ranges: [ClosedRange<UInt32>] = []
    private(set) var looks: [Look] = []
    private(set) var anchors: [PatternNode.Anchor] = []
    /// How many states a patient search remembers at each place.
    private(set) var stateCount = 0
    /// For what stands at a place, the starts of the top alternatives that can match there: `entries[entryBounds[row]..<entryBounds[row + 1]]`.
    private(set) var entries: [Int] = []
    private(set) var entryBounds: [Int] = [0]

    private let usesSpans: Bool
    private var knownSets: [ScalarSet] = []

    init(_ node: PatternNode, usesSpans: Bool) throws(TooLarge) {
        self.usesSpans = usesSpans
        let alternatives = if case .alternatives(let nodes) = node { nodes } else { [node] }
        var starts: [(pc: Int, first: PatternNode.FirstSet)] = []
        for alternative in alternatives {
            starts.append((instructions.count, alternative.first))
            try emit(alternative)
            try append(Instruction(operation: .accept))
        }
        for row in 0...Self.endRow {
            for (pc, first) in starts {
                let isPossible =
                    switch row {
                    case Self.endRow: false
                    case Self.beyondASCIIRow: first.beyondASCII
                    case ..<64: first.low >> UInt64(row) & 1 != 0
                    default: first.high >> UInt64(row - 64) & 1 != 0
                    }
                if isPossible || first.canBeEmpty { entries.append(pc) }
            }
            entryBounds.append(entries.count)
        }
        knownSets = []
    }

    private mutating func append(_ instruction: Instruction) throws(TooLarge) {
        guard instructions.count < Self.maximumInstructionCount, stateCount <= Self.maximumStateCount else { throw TooLarge() }
        instructions.append(instruction)
    }

    private mutating func index(of set: ScalarSet) -> Int {
        if let known = knownSets.firstIndex(of: set) { return known }
        let compact = set.compact
        knownSets.append(set)
        sets.append(
            CompactSet(
                low: compact.low, high: compact.high, kinds: compact.kinds, isNegated: compact.isNegated, rangeStart: ranges.count,
                rangeEnd: ranges.count + compact.ranges.count))
        ranges.append(contentsOf: compact.ranges)
        return sets.count - 1
    }

    private mutating func nextState() -> Int {
        stateCount += 1
        return stateCount - 1
    }

    private mutating func emit(_ node: PatternNode) throws(TooLarge) {
        switch node {
        case .empty: break
        case .set(let set): try append(Instruction(operation: .set, first: index(of: set)))
        case .sequence(let nodes):
            for node in nodes { try emit(node) }
        case .alternatives(let nodes): try emitAlternatives(nodes)
        case .repeat(let node, let minimum, let maximum, let greed): try emitRepeat(node, minimum, maximum, greed)
        case .look(let runs, let negative):
            var indices: [[Int]] = []
            for run in runs { indices.append(run.map { index(of: $0) }) }
            looks.append(Look(runs: indices, isNegative: negative))
            try append(Instruction(operation: .look, first: looks.count - 1))
        case .anchor(let anchor):
            anchors.append(anchor)
            try append(Instruction(operation: .anchor, first: anchors.count - 1))
        }
    }

    private mutating func emitAlternatives(_ nodes: [PatternNode]) throws(TooLarge) {
        var jumps: [Int] = []
        for (position, node) in nodes.enumerated() {
            let isLast = position == nodes.count - 1
            let split = instructions.count
            if !isLast { try append(Instruction(operation: .split, first: split + 1, number: nextState())) }
            try emit(node)
            if !isLast {
                jumps.append(instructions.count)
                try append(Instruction(operation: .jump))
                instructions[split].second = instructions.count
            }
        }
        for jump in jumps { instructions[jump].first = instructions.count }
    }

    private mutating func emitRepeat(_ node: PatternNode, _ minimum: Int, _ maximum: Int?, _ greed: PatternNode.Greed) throws(TooLarge) {
        if case .set(let set) = node, greed == .possessive || (greed == .greedy && usesSpans) {
            if greed == .possessive, maximum == nil, !usesSpans {
                for _ in 0..<minimum { try emit(node) }
                try append(Instruction(operation: .possessiveLoop, first: index(of: set), number: nextState()))
            } else {
                let operation: Operation = greed == .possessive ? .possessiveSpan : .span
                try append(Instruction(operation: operation, first: index(of: set), second: minimum, third: maximum ?? .max))
            }
            return
        }
        for _ in 0..<minimum { try emit(node) }
        guard let maximum else {
            let split = instructions.count
            try append(Instruction(operation: .split, number: nextState()))
            try emit(node)
            try append(Instruction(operation: .jump, first: split))
            link(split, body: split + 1, exit: instructions.count, greed)
            return
        }
        var splits: [Int] = []
        for _ in minimum..<maximum {
            splits.append(instructions.count)
            try append(Instruction(operation: .split, number: nextState()))
            try emit(node)
        }
        for split in splits { link(split, body: split + 1, exit: instructions.count, greed) }
    }

    private mutating func link(_ split: Int, body: Int, exit: Int, _ greed: PatternNode.Greed) {
        instructions[split].first = greed == .lazy ? exit : body
        instructions[split].second = greed == .lazy ? body : exit
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
