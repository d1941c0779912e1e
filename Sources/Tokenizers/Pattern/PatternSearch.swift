/// Finds the matches of a pattern in a range of UTF-8 text, one after the other, as `tokenizers` does.
///
/// It backtracks with a stack of its own. A budget of steps proportional to the text covers every sane pattern; when it runs out, the search goes on
/// with the patient program, which never enters a state twice at the same place.
struct PatternSearch {
    private struct Frame {
        var pc: Int
        var position: Int
        /// For a span: how far it can give back. Below 0 for a plain alternative.
        var floor: Int
    }

    private let kinds = ScalarKinds.shared
    private let lower: Int
    private let upper: Int
    private var position: Int
    private var lastMatchEnd = -1
    private var stack: [Frame] = []
    private var stepsLeft: Int
    private var isPatient = false
    /// Bit (position - lower) * stateCount + state: the patient program has been in that state there, and it led nowhere.
    private var visited: [UInt64] = []

    private static let failed = -1
    private static let outOfSteps = -2

    /// `steps` is for tests: with 0 the patient program does all.
    init(in range: Range<Int>, steps: Int? = nil) {
        lower = range.lowerBound
        upper = range.upperBound
        position = lower
        stepsLeft = steps ?? (range.count.multipliedReportingOverflow(by: 64).partialValue &+ 4096)
    }

    /// The next match, leftmost first, the alternatives in their order. An empty match right behind the last match is passed over.
    ///
    /// The pattern, the same in every call, is handed in and not kept: threads share it, and would write to its reference count.
    mutating func next(_ pattern: Pattern, in bytes: [UInt8]) -> Range<Int>? {
        while position <= upper {
            var start = position
            var end = Self.failed
            while start <= upper {
                end = match(pattern, bytes, at: start)
                if end >= 0 || start == upper { break }
                start += scalarLength(bytes[start])
            }
            guard end >= 0 else { break }
            if end == start, end == lastMatchEnd {
                position += position < upper ? scalarLength(bytes[position]) : 1
                continue
            }
            position = end
            lastMatchEnd = end
            return start..<end
        }
        position = upper + 1
        return nil
    }

    private mutating func match(_ pattern: Pattern, _ bytes: [UInt8], at start: Int) -> Int {
        if !isPatient {
            if stepsLeft > 0 {
                let end = matchQuickly(pattern.quick, bytes, at: start)
                if end != Self.outOfSteps { return end }
            }
            becomePatient(pattern.patient)
        }
        return matchPatiently(pattern.patient, bytes, at: start)
    }

    private mutating func becomePatient(_ program: PatternProgram) {
        isPatient = true
        let bitCount = (upper - lower + 1) * max(1, program.stateCount)
        visited = [UInt64](repeating: 0, count: bitCount / 64 + 1)
    }

    @inline(__always)
    private func row(_ bytes: [UInt8], _ start: Int) -> Int {
        guard start < upper else { return PatternProgram.endRow }
        return bytes[start] < 0x80 ? Int(bytes[start]) : PatternProgram.beyondASCIIRow
    }

    // MARK: Quick

    private mutating func matchQuickly(_ program: PatternProgram, _ bytes: [UInt8], at start: Int) -> Int {
        let row = row(bytes, start)
        var steps = 0
        defer { stepsLeft -= steps }
        for entry in program.entryBounds[row]..<program.entryBounds[row + 1] {
            var pc = program.entries[entry]
            var at = start
            stack.removeAll(keepingCapacity: true)
            while true {
                let instruction = program.instructions[pc]
                var isAlive = true
                steps += 1
                switch instruction.operation {
                case .set:
                    let next = consume(program, instruction.first, bytes, at)
                    isAlive = next >= 0
                    at = next
                    pc += 1
                case .span, .possessiveSpan:
                    let (end, floor, count) = scan(program, instruction, bytes, at)
                    steps += count
                    isAlive = count >= instruction.second
                    if isAlive, instruction.operation == .span, floor < end { stack.append(Frame(pc: pc + 1, position: end, floor: floor)) }
                    at = end
                    pc += 1
                case .split:
                    stack.append(Frame(pc: instruction.second, position: at, floor: -1))
                    pc = instruction.first
                case .jump: pc = instruction.first
                case .look:
                    isAlive = looks(program, program.looks[instruction.first], bytes, at)
                    pc += 1
                case .anchor:
                    isAlive = holds(program.anchors[instruction.first], bytes, at)
                    pc += 1
                case .accept: return at
                case .possessiveLoop: isAlive = false
                }
                if isAlive { continue }
                guard steps < stepsLeft else { return Self.outOfSteps }
                guard let frame = stack.last else { break }
                pc = frame.pc
                if frame.floor < 0 {
                    at = frame.position
                    stack.removeLast()
                } else {
                    at = bytes.scalar(before: frame.position).start
                    if at > frame.floor { stack[stack.count - 1].position = at } else { stack.removeLast() }
                }
            }
        }
        return Self.failed
    }

    /// The end of the longest run, the end of the shortest allowed one, and the longest's length in scalars.
    @inline(__always)
    private func scan(_ program: PatternProgram, _ span: PatternProgram.Instruction, _ bytes: [UInt8], _ start: Int) -> (Int, Int, Int) {
        var at = start
        var floor = start
        var count = 0
        while at < upper, count < span.third {
            let next = consume(program, span.first, bytes, at)
            guard next >= 0 else { break }
            at = next
            count += 1
            if count == span.second { floor = at }
        }
        return (at, floor, count)
    }

    /// The index behind the scalar at `at` where that is in the set, or -1.
    @inline(__always)
    private func consume(_ program: PatternProgram, _ set: Int, _ bytes: [UInt8], _ at: Int) -> Int {
        guard at < upper else { return -1 }
        let byte = bytes[at]
        if byte < 0x80 { return program.matches(set, ascii: byte) ? at + 1 : -1 }
        let (scalar, next) = bytes.scalar(at: at)
        return program.matches(set, beyondASCII: scalar, kinds) ? next : -1
    }

    private func looks(_ program: PatternProgram, _ look: PatternProgram.Look, _ bytes: [UInt8], _ start: Int) -> Bool {
        for run in look.runs {
            var at = start
            for set in run {
                at = consume(program, set, bytes, at)
                if at < 0 { break }
            }
            if at >= 0 { return !look.isNegative }
        }
        return look.isNegative
    }

    private func holds(_ anchor: PatternNode.Anchor, _ bytes: [UInt8], _ at: Int) -> Bool {
        switch anchor {
        case .lineStart: at == lower || (bytes[at - 1] == 0x0A && at < upper)
        case .lineEnd: at == upper || bytes[at] == 0x0A
        case .textStart: at == lower
        case .textEnd: at == upper
        case .textEndBeforeNewline: at == upper || (at == upper - 1 && bytes[at] == 0x0A)
        }
    }

    // MARK: Patient

    private mutating func matchPatiently(_ program: PatternProgram, _ bytes: [UInt8], at start: Int) -> Int {
        let row = row(bytes, start)
        for entry in program.entryBounds[row]..<program.entryBounds[row + 1] {
            var pc = program.entries[entry]
            var at = start
            stack.removeAll(keepingCapacity: true)
            while true {
                let instruction = program.instructions[pc]
                var isAlive = true
                switch instruction.operation {
                case .set:
                    at = consume(program, instruction.first, bytes, at)
                    isAlive = at >= 0
                    pc += 1
                case .span, .possessiveSpan:
                    let (end, _, count) = scan(program, instruction, bytes, at)
                    isAlive = count >= instruction.second
                    at = end
                    pc += 1
                case .split:
                    isAlive = visit(program, instruction.number, at)
                    if isAlive { stack.append(Frame(pc: instruction.second, position: at, floor: -1)) }
                    pc = instruction.first
                case .possessiveLoop:
                    isAlive = visit(program, instruction.number, at)
                    let next = isAlive ? consume(program, instruction.first, bytes, at) : -1
                    if next >= 0 { at = next } else { pc += 1 }
                case .jump: pc = instruction.first
                case .look:
                    isAlive = looks(program, program.looks[instruction.first], bytes, at)
                    pc += 1
                case .anchor:
                    isAlive = holds(program.anchors[instruction.first], bytes, at)
                    pc += 1
                case .accept:
                    // What was entered beyond the match has failed for good; the states at its end may belong to the match itself.
                    for state in 0..<program.stateCount { forget(program, state, at) }
                    return at
                }
                if isAlive { continue }
                guard let frame = stack.popLast() else { break }
                pc = frame.pc
                at = frame.position
            }
        }
        return Self.failed
    }

    /// Marks a state; false where it was marked before.
    private mutating func visit(_ program: PatternProgram, _ state: Int, _ at: Int) -> Bool {
        let bit = (at - lower) * program.stateCount + state
        if visited[bit >> 6] >> UInt64(bit & 63) & 1 != 0 { return false }
        visited[bit >> 6] |= 1 << UInt64(bit & 63)
        return true
    }

    private mutating func forget(_ program: PatternProgram, _ state: Int, _ at: Int) {
        let bit = (at - lower) * program.stateCount + state
        visited[bit >> 6] &= ~(1 << UInt64(bit & 63))
    }
}
