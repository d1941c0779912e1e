/// Parses the subset of Oniguruma's syntax that tokenizer files use. What lies outside it is an error that names the place.
struct PatternParser {
    struct Failure: Error {
        let message: String
    }

    private static let maximumDepth = 64
    private static let maximumRepeat = 1000

    private let scalars: [UInt32]
    private var index = 0
    private var depth = 0
    private var ignoresCase = false

    init(_ text: String) {
        scalars = text.unicodeScalars.map(\.value)
    }

    static func parse(_ text: String) throws(Failure) -> PatternNode {
        var parser = PatternParser(text)
        let node = try parser.parseAlternatives()
        if parser.index < parser.scalars.count { throw parser.failure("an unmatched ')'") }
        return node
    }

    func failure(_ what: String) -> Failure {
        Failure(message: "\(what) at scalar \(index) of the pattern is not supported")
    }

    // MARK: Reading

    var current: UInt32? { index < scalars.count ? scalars[index] : nil }

    mutating func advance() { index += 1 }

    mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard current == character.value else { return false }
        index += 1
        return true
    }

    mutating func take(_ text: String) -> Bool {
        let wanted = text.unicodeScalars.map(\.value)
        guard scalars.count - index >= wanted.count, scalars[index..<index + wanted.count].elementsEqual(wanted) else { return false }
        index += wanted.count
        return true
    }

    /// An unsigned decimal of at most four digits.
    private mutating func takeNumber() -> Int? {
        var value: Int?
        while let digit = current, (0x30...0x39).contains(digit), (value ?? 0) <= 9999 {
            value = (value ?? 0) * 10 + Int(digit - 0x30)
            index += 1
        }
        return value
    }

    // MARK: Structure

    private mutating func parseAlternatives() throws(Failure) -> PatternNode {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.maximumDepth else { throw failure("nesting deeper than \(Self.maximumDepth) groups") }
        let outerIgnoresCase = ignoresCase
        defer { ignoresCase = outerIgnoresCase }
        var branches = [try parseSequence()]
        while take("|") { branches.append(try parseSequence()) }
        return branches.count == 1 ? branches[0] : .alternatives(branches)
    }

    private mutating func parseSequence() throws(Failure) -> PatternNode {
        var nodes: [PatternNode] = []
        while let scalar = current, scalar != 0x7C, scalar != 0x29 {
            if isCaseSwitch() {
                // Oniguruma lets `a(?i)b|c` mean `a(?i:b|c)`.
                nodes.append(try parseAlternatives())
                break
            }
            nodes.append(try parseQuantified())
            if ignoresCase { try refuseLongFoldings(nodes) }
        }
        switch nodes.count {
        case 0: return .empty
        case 1: return nodes[0]
        default: return .sequence(nodes)
        }
    }

    /// Takes `(?i)` or `(?-i)`.
    private mutating func isCaseSwitch() -> Bool {
        if take("(?i)") {
            ignoresCase = true
            return true
        }
        if take("(?-i)") {
            ignoresCase = false
            return true
        }
        return false
    }

    private mutating func parseQuantified() throws(Failure) -> PatternNode {
        var node = try parseAtom()
        while let scalar = current {
            let minimum: Int
            let maximum: Int?
            var isInterval = false
            switch scalar {
            case 0x2A: (minimum, maximum) = (0, nil)
            case 0x2B: (minimum, maximum) = (1, nil)
            case 0x3F: (minimum, maximum) = (0, 1)
            case 0x7B:
                (minimum, maximum) = try parseInterval()
                isInterval = true
            default: return node
            }
            if !isInterval { index += 1 }
            var greed = PatternNode.Greed.greedy
            if isInterval {
                if current == 0x3F, minimum == maximum { throw failure("'?' behind a fixed count") }
                if take("?") { greed = .lazy }
                // `{1,3}+` is no possessive interval but a repeat of the interval: the loop reads the '+' as the next quantifier.
            } else if take("?") {
                greed = .lazy
            } else if take("+") {
                greed = .possessive
            }
            switch node {
            case .look, .anchor, .empty: throw failure("a quantifier behind something of no width")
            default: break
            }
            if greed == .possessive {
                guard case .set = node else { throw failure("a possessive quantifier behind a group") }
            }
            // Oniguruma leaves such a loop at the first empty round, with other matches than the rounds one after the other would give.
            if maximum ?? 2 > 1, node.first.canBeEmpty { throw failure("a repeat of something that may be empty") }
            node = .repeat(node, minimum: minimum, maximum: maximum, greed)
        }
        return node
    }

    /// `{m}`, `{m,}`, `{,n}` or `{m,n}`.
    private mutating func parseInterval() throws(Failure) -> (Int, Int?) {
        let start = index
        index += 1
        let low = takeNumber()
        var high = low
        let hasComma = take(",")
        if hasComma { high = takeNumber() }
        guard take("}"), low != nil || high != nil else {
            index = start
            throw failure("a '{' that is no interval")
        }
        let minimum = low ?? 0
        guard minimum <= Self.maximumRepeat, (high ?? 0) <= Self.maximumRepeat, high.map({ $0 >= minimum && $0 > 0 }) ?? true else {
            throw failure("an interval beyond 1...\(Self.maximumRepeat)")
        }
        return (minimum, high)
    }

    private mutating func parseAtom() throws(Failure) -> PatternNode {
        guard let scalar = current else { throw failure("the end of the text") }
        switch scalar {
        case 0x28: return try parseGroup()
        case 0x5B: return .set(try parseClass())
        case 0x2E:
            index += 1
            return .set(ScalarSet(ranges: [0x0A...0x0A], negated: true))
        case 0x5E:
            index += 1
            return .anchor(.lineStart)
        case 0x24:
            index += 1
            return .anchor(.lineEnd)
        case 0x5C: return try parseEscape()
        case 0x2A, 0x2B, 0x3F, 0x7B: throw failure("a quantifier with nothing before it")
        default:
            index += 1
            return .set(try literal(scalar))
        }
    }

    private mutating func parseGroup() throws(Failure) -> PatternNode {
        let outerIgnoresCase = ignoresCase
        defer { ignoresCase = outerIgnoresCase }
        index += 1
        if take("?") {
            if take("=") { return try parseLook(negative: false) }
            if take("!") { return try parseLook(negative: true) }
            if take("i:") {
                ignoresCase = true
            } else if take("-i:") {
                ignoresCase = false
            } else if !take(":") {
                throw failure("this kind of group")
            }
        } else if current == 0x2A {
            throw failure("this kind of group")
        }
        let node = try parseAlternatives()
        guard take(")") else { throw failure("a group without an end") }
        return node
    }

    private mutating func parseLook(negative: Bool) throws(Failure) -> PatternNode {
        let node = try parseAlternatives()
        guard take(")") else { throw failure("a group without an end") }
        func runOfSets(_ node: PatternNode) -> [ScalarSet]? {
            switch node {
            case .empty: return []
            case .set(let set): return [set]
            case .sequence(let nodes):
                var sets: [ScalarSet] = []
                for node in nodes {
                    guard case .set(let set) = node else { return nil }
                    sets.append(set)
                }
                return sets
            default: return nil
            }
        }
        var runs: [[ScalarSet]] = []
        let branches = if case .alternatives(let nodes) = node { nodes } else { [node] }
        for branch in branches {
            guard let run = runOfSets(branch) else { throw failure("a look-ahead that is more than alternatives of plain characters and classes") }
            runs.append(run)
        }
        return .look(runs, negative: negative)
    }

    private mutating func parseEscape() throws(Failure) -> PatternNode {
        if take("\\A") { return .anchor(.textStart) }
        if take("\\z") { return .anchor(.textEnd) }
        if take("\\Z") { return .anchor(.textEndBeforeNewline) }
        switch try parseEscapedItem() {
        case .scalar(let scalar): return .set(try literal(scalar))
        case .set(let set):
            return .set(set)
        }
    }

    /// A literal, which under `(?i:` also stands for its other cases.
    private func literal(_ scalar: UInt32) throws(Failure) -> ScalarSet {
        guard ignoresCase else { return ScalarSet(scalar) }
        guard let cases = Self.cases(of: scalar) else { throw failure("a letter beyond ASCII under (?i:") }
        return ScalarSet(ranges: cases.map { $0...$0 })
    }

    /// The scalars that fold to the same as an ASCII scalar does; nil beyond ASCII.
    static func cases(of scalar: UInt32) -> [UInt32]? {
        guard scalar < 0x80 else { return nil }
        let lower = scalar | 0x20
        guard (0x61...0x7A).contains(lower) else { return [scalar] }
        switch lower {
        case 0x6B: return [lower, lower - 0x20, 0x212A]  // the Kelvin sign
        case 0x73: return [lower, lower - 0x20, 0x17F]  // the long s
        default: return [lower, lower - 0x20]
        }
    }

    var foldsCase: Bool { ignoresCase }

    /// Under `(?i:` Oniguruma lets one scalar stand for two letters (the sharp s for "ss", ligatures): such pairs are refused.
    private func refuseLongFoldings(_ nodes: [PatternNode]) throws(Failure) {
        guard nodes.count > 1 else { return }
        let before = Self.foldedLetters(nodes[nodes.count - 2])
        let last = Self.foldedLetters(nodes[nodes.count - 1])
        for pair in ["ss", "ff", "fi", "fl", "st"].map({ Array($0.utf8) }) where before.contains(pair[0]) && last.contains(pair[1]) {
            throw failure("a pair of letters that has a ligature under (?i:")
        }
    }

    /// The letters of the ligatures that the node can match in both cases.
    private static func foldedLetters(_ node: PatternNode) -> [UInt8] {
        switch node {
        case .set(let set): Array("sfilt".utf8).filter { set.containsASCII($0) && set.containsASCII($0 - 0x20) }
        case .repeat(let node, _, _, _): foldedLetters(node)
        default: []
        }
    }
}
