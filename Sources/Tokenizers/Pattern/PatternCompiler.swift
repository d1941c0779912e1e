/// Writes the instructions of a ``PatternProgram``.
struct PatternCompiler {
    private(set) var instructions: [PatternProgram.Instruction] = []
    private(set) var sets: [PatternProgram.CompactSet] = []
    private(set) var ranges: [ClosedRange<UInt32>] = []
    private(set) var looks: [PatternProgram.Look] = []
    private(set) var anchors: [PatternNode.Anchor] = []
    private(set) var stateCount = 0
    private(set) var entries: [Int] = []
    private(set) var entryBounds: [Int] = [0]

    private let usesSpans: Bool
    private var knownSets: [ScalarSet] = []

    init(_ node: PatternNode, usesSpans: Bool) throws(PatternProgram.TooLarge) {
        self.usesSpans = usesSpans
        let alternatives = if case .alternatives(let nodes) = node { nodes } else { [node] }
        var starts: [(pc: Int, first: PatternNode.FirstSet)] = []
        for alternative in alternatives {
            starts.append((instructions.count, alternative.first))
            try emit(alternative)
            try append(PatternProgram.Instruction(operation: .accept))
        }
        for row in 0...PatternProgram.endRow {
            for (pc, first) in starts {
                let isPossible =
                    switch row {
                    case PatternProgram.endRow: false
                    case PatternProgram.beyondASCIIRow: first.beyondASCII
                    case ..<64: first.low >> UInt64(row) & 1 != 0
                    default: first.high >> UInt64(row - 64) & 1 != 0
                    }
                if isPossible || first.canBeEmpty { entries.append(pc) }
            }
            entryBounds.append(entries.count)
        }
        knownSets = []
    }

    private mutating func append(_ instruction: PatternProgram.Instruction) throws(PatternProgram.TooLarge) {
        guard instructions.count < PatternProgram.maximumInstructionCount, stateCount <= PatternProgram.maximumStateCount else {
            throw PatternProgram.TooLarge()
        }
        instructions.append(instruction)
    }

    private mutating func index(of set: ScalarSet) -> Int {
        if let known = knownSets.firstIndex(of: set) { return known }
        let compact = set.compact
        knownSets.append(set)
        sets.append(
            PatternProgram.CompactSet(
                low: compact.low, high: compact.high, kinds: compact.kinds, isNegated: compact.isNegated, rangeStart: ranges.count,
                rangeEnd: ranges.count + compact.ranges.count))
        ranges.append(contentsOf: compact.ranges)
        return sets.count - 1
    }

    private mutating func nextState() -> Int {
        stateCount += 1
        return stateCount - 1
    }

    private mutating func emit(_ node: PatternNode) throws(PatternProgram.TooLarge) {
        switch node {
        case .empty: break
        case .set(let set): try append(PatternProgram.Instruction(operation: .set, first: index(of: set)))
        case .sequence(let nodes):
            for node in nodes { try emit(node) }
        case .alternatives(let nodes): try emitAlternatives(nodes)
        case .repeat(let node, let minimum, let maximum, let greed): try emitRepeat(node, minimum, maximum, greed)
        case .look(let runs, let negative):
            var indices: [[Int]] = []
            for run in runs { indices.append(run.map { index(of: $0) }) }
            looks.append(PatternProgram.Look(runs: indices, isNegative: negative))
            try append(PatternProgram.Instruction(operation: .look, first: looks.count - 1))
        case .anchor(let anchor):
            anchors.append(anchor)
            try append(PatternProgram.Instruction(operation: .anchor, first: anchors.count - 1))
        }
    }

    private mutating func emitAlternatives(_ nodes: [PatternNode]) throws(PatternProgram.TooLarge) {
        var jumps: [Int] = []
        for (position, node) in nodes.enumerated() {
            let isLast = position == nodes.count - 1
            let split = instructions.count
            if !isLast { try append(PatternProgram.Instruction(operation: .split, first: split + 1, number: nextState())) }
            try emit(node)
            if !isLast {
                jumps.append(instructions.count)
                try append(PatternProgram.Instruction(operation: .jump))
                instructions[split].second = instructions.count
            }
        }
        for jump in jumps { instructions[jump].first = instructions.count }
    }

    private mutating func emitRepeat(_ node: PatternNode, _ minimum: Int, _ maximum: Int?, _ greed: PatternNode.Greed) throws(PatternProgram.TooLarge)
    {
        if case .set(let set) = node, greed == .possessive || (greed == .greedy && usesSpans) {
            if greed == .possessive, maximum == nil, !usesSpans {
                for _ in 0..<minimum { try emit(node) }
                try append(PatternProgram.Instruction(operation: .possessiveLoop, first: index(of: set), number: nextState()))
            } else {
                let operation: PatternProgram.Operation = greed == .possessive ? .possessiveSpan : .span
                try append(PatternProgram.Instruction(operation: operation, first: index(of: set), second: minimum, third: maximum ?? .max))
            }
            return
        }
        for _ in 0..<minimum { try emit(node) }
        guard let maximum else {
            let split = instructions.count
            try append(PatternProgram.Instruction(operation: .split, number: nextState()))
            try emit(node)
            try append(PatternProgram.Instruction(operation: .jump, first: split))
            link(split, body: split + 1, exit: instructions.count, greed)
            return
        }
        var splits: [Int] = []
        for _ in minimum..<maximum {
            splits.append(instructions.count)
            try append(PatternProgram.Instruction(operation: .split, number: nextState()))
            try emit(node)
        }
        for split in splits { link(split, body: split + 1, exit: instructions.count, greed) }
    }

    private mutating func link(_ split: Int, body: Int, exit: Int, _ greed: PatternNode.Greed) {
        instructions[split].first = greed == .lazy ? exit : body
        instructions[split].second = greed == .lazy ? body : exit
    }
}
