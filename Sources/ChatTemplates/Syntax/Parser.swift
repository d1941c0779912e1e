/// Builds statements from tokens by Jinja's grammar.
struct Parser {
    private let tokens: [Token]
    private(set) var position = 0
    private var nameIDs: [String: Name] = [:]
    private(set) var names: [String] = []
    private(set) var scopeCount = 0
    private var depth = 0
    /// How high the tree of the expression parsed last is.
    var height = 0

    init(_ tokens: [Token]) { self.tokens = tokens }

    // MARK: Tokens

    var current: Token { tokens[min(position, tokens.count - 1)] }
    var next: Token { tokens[min(position + 1, tokens.count - 1)] }
    var line: Int { current.line }

    @discardableResult
    mutating func advance() -> Token {
        defer { position += 1 }
        return current
    }

    func fail(_ message: String, line: Int? = nil) -> ChatTemplateError { ChatTemplateError(.syntax, line: line ?? self.line, message) }

    func unsupported(_ what: String, line: Int? = nil) -> ChatTemplateError {
        ChatTemplateError(.unsupported, line: line ?? self.line, "\(what) is not supported")
    }

    func isAt(_ kind: Token.Kind) -> Bool { current.kind == kind }
    func isAt(_ symbol: Token.Symbol) -> Bool { current.kind == .symbol(symbol) }
    func isAt(keyword: String) -> Bool { current.kind == .name(keyword) }
    func isAt(anyOf keywords: [String]) -> Bool { keywords.contains { isAt(keyword: $0) } }

    mutating func skip(_ symbol: Token.Symbol) -> Bool {
        guard isAt(symbol) else { return false }
        advance()
        return true
    }

    mutating func skip(keyword: String) -> Bool {
        guard isAt(keyword: keyword) else { return false }
        advance()
        return true
    }

    mutating func expect(_ kind: Token.Kind, _ spelling: String) throws(ChatTemplateError) {
        guard isAt(kind) else { throw fail("expected '\(spelling)', found '\(current.spelling)'") }
        advance()
    }

    mutating func expect(_ symbol: Token.Symbol) throws(ChatTemplateError) { try expect(.symbol(symbol), symbol.rawValue) }
    mutating func expect(keyword: String) throws(ChatTemplateError) { try expect(.name(keyword), keyword) }

    mutating func expectName() throws(ChatTemplateError) -> String {
        guard case .name(let name) = current.kind else { throw fail("expected a name, found '\(current.spelling)'") }
        advance()
        return name
    }

    // MARK: Names, scopes, depth

    mutating func intern(_ name: String) -> Name {
        if let known = nameIDs[name] { return known }
        let new = Name(id: names.count)
        names.append(name)
        nameIDs[name] = new
        return new
    }

    func spelling(of name: Name) -> String { names[name.id] }

    mutating func newScope() -> ScopeID {
        defer { scopeCount += 1 }
        return ScopeID(index: scopeCount)
    }

    /// Runs `body` one level deeper, within what the stack bears.
    mutating func nested<Result>(_ body: (inout Parser) throws(ChatTemplateError) -> Result) throws(ChatTemplateError) -> Result {
        guard depth < TemplateLimits.sourceDepth else { throw tooDeep }
        depth += 1
        defer { depth -= 1 }
        return try body(&self)
    }

    /// Notes that a node stands above trees of these heights.
    mutating func grow(over heights: Int...) throws(ChatTemplateError) {
        height = 1 + (heights.max() ?? 0)
        guard height <= 2 * TemplateLimits.sourceDepth else { throw tooDeep }
    }

    private var tooDeep: ChatTemplateError {
        ChatTemplateError(.limit, line: line, "the template nests deeper than \(TemplateLimits.sourceDepth) levels")
    }

    // MARK: Bodies

    /// The whole template.
    mutating func parseTemplate() throws(ChatTemplateError) -> [Statement] {
        try parseBody(until: [])
    }

    /// Parses up to a tag named by `ends`, which stays unread; with no `ends`, up to the end of the template.
    mutating func parseBody(until ends: [String]) throws(ChatTemplateError) -> [Statement] {
        var body: [Statement] = []
        var output: [Statement.Output] = []
        func flush() {
            if !output.isEmpty { body.append(.output(output)) }
            output = []
        }
        while true {
            switch current.kind {
            case .data(let text):
                output.append(.text(text))
                advance()
            case .variableBegin:
                advance()
                let start = line
                output.append(.expression(try parseTuple(), line: start))
                try expect(.variableEnd, "}}")
            case .blockBegin:
                flush()
                advance()
                if isAt(anyOf: ends) { return body }
                body.append(try parseStatement(ends: ends))
                try expect(.blockEnd, "%}")
            default:
                flush()
                guard ends.isEmpty else {
                    throw fail("the template ends where \(ends.map { "'\($0)'" }.joined(separator: " or ")) is expected")
                }
                return body
            }
        }
    }

    /// The body of a block tag: the rest of the tag, then statements up to one of `ends`.
    mutating func parseBlock(until ends: [String]) throws(ChatTemplateError) -> [Statement] {
        _ = skip(.colon)
        try expect(.blockEnd, "%}")
        return try nested { parser throws(ChatTemplateError) in try parser.parseBody(until: ends) }
    }
}
