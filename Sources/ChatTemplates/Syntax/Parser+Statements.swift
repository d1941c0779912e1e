extension Parser {
    mutating func parseStatement(ends: [String]) throws(ChatTemplateError) -> Statement {
        let line = self.line
        guard case .name(let tag) = current.kind else { throw fail("expected the name of a tag, found '\(current.spelling)'") }
        switch tag {
        case "if": return try parseIf()
        case "for": return try parseFor()
        case "set": return try parseSet()
        case "macro": return try parseMacro()
        case "call": return try parseCallBlock()
        case "filter": return try parseFilterBlock()
        case "with": return try parseWith()
        case "print": return try parsePrint()
        case "generation": return try parseGeneration()
        case "break":
            advance()
            return .breakLoop(line: line)
        case "continue":
            advance()
            return .continueLoop(line: line)
        case "block", "extends", "include", "import", "from", "autoescape": throw unsupported("the tag '\(tag)'")
        default:
            guard !ends.isEmpty else { throw fail("unknown tag '\(tag)'") }
            throw fail("unknown tag '\(tag)'; \(ends.map { "'\($0)'" }.joined(separator: " or ")) is expected")
        }
    }

    private mutating func parseIf() throws(ChatTemplateError) -> Statement {
        var branches: [Statement.Branch] = []
        while true {
            let line = advance().line
            let test = try parseTuple(withConditional: false)
            let body = try parseBlock(until: ["elif", "else", "endif"])
            branches.append(Statement.Branch(test: test, body: body, line: line))
            if isAt(keyword: "elif") { continue }
            if skip(keyword: "endif") { return .branch(branches, otherwise: []) }
            advance()
            let otherwise = try parseBlock(until: ["endif"])
            advance()
            return .branch(branches, otherwise: otherwise)
        }
    }

    private mutating func parseFor() throws(ChatTemplateError) -> Statement {
        let line = advance().line
        let target = try parseTarget(end: "in")
        try expect(keyword: "in")
        let source = try parseTuple(withConditional: false, end: "recursive")
        var test: Expression?
        if skip(keyword: "if") { test = try parseExpression() }
        if isAt(keyword: "recursive") { throw unsupported("a recursive loop") }
        let (bodyScope, testScope, otherwiseScope) = (newScope(), newScope(), newScope())
        let body = try parseBlock(until: ["endfor", "else"])
        var otherwise: [Statement] = []
        if !skip(keyword: "endfor") {
            advance()
            otherwise = try parseBlock(until: ["endfor"])
            advance()
        }
        return .loop(
            Statement.Loop(
                target: target, source: source, test: test, body: body, otherwise: otherwise,
                bodyScope: bodyScope, testScope: testScope, otherwiseScope: otherwiseScope, line: line))
    }

    private mutating func parseSet() throws(ChatTemplateError) -> Statement {
        let line = advance().line
        let target = try parseTarget(withNamespace: true)
        if skip(.assign) { return .assign(target, try parseTuple(), line: line) }
        let filter = try parseFilterChain(nil)
        let scope = newScope()
        let body = try parseBlock(until: ["endset"])
        advance()
        return .assignBlock(target, filter: filter, body: body, scope: scope, line: line)
    }

    // MARK: Macros and blocks

    private mutating func parseMacro() throws(ChatTemplateError) -> Statement {
        let line = advance().line
        let name = try parseTargetName()
        let parameters = try parseSignature()
        return .macro(try parseDefinition(parameters, end: "endmacro"), name: name, line: line)
    }

    private mutating func parseDefinition(
        _ parameters: [MacroDefinition.Parameter], end: String
    ) throws(ChatTemplateError) -> MacroDefinition {
        let scope = newScope()
        let body = try parseBlock(until: [end])
        advance()
        return MacroDefinition(parameters: parameters, body: body, scope: scope)
    }

    private mutating func parseSignature() throws(ChatTemplateError) -> [MacroDefinition.Parameter] {
        var parameters: [MacroDefinition.Parameter] = []
        try expect(.leftParenthesis)
        while !isAt(.rightParenthesis) {
            if !parameters.isEmpty { try expect(.comma) }
            let name = try parseTargetName()
            guard !parameters.contains(where: { $0.name == name }) else {
                throw fail("the parameter '\(spelling(of: name))' stands twice")
            }
            var fallback: Expression?
            if skip(.assign) {
                fallback = try parseExpression()
            } else if let last = parameters.last, last.fallback != nil {
                throw fail("a parameter without a default follows one with a default")
            }
            parameters.append(MacroDefinition.Parameter(name: name, fallback: fallback))
        }
        try expect(.rightParenthesis)
        return parameters
    }

    private mutating func parseCallBlock() throws(ChatTemplateError) -> Statement {
        let line = advance().line
        let parameters = isAt(.leftParenthesis) ? try parseSignature() : []
        let call = try parseExpression()
        guard case .call = call else { throw fail("expected a call", line: line) }
        return .callBlock(try parseDefinition(parameters, end: "endcall"), call: call, line: line)
    }

    private mutating func parseGeneration() throws(ChatTemplateError) -> Statement {
        let line = advance().line
        return .generation(try parseDefinition([], end: "endgeneration"), line: line)
    }

    private mutating func parseFilterBlock() throws(ChatTemplateError) -> Statement {
        let line = advance().line
        let first = try parseFilter(nil, isFirst: true)
        let filter = try parseFilterChain(first) ?? first
        let scope = newScope()
        let body = try parseBlock(until: ["endfilter"])
        advance()
        return .filterBlock(filter, body: body, scope: scope, line: line)
    }

    private mutating func parseFilterChain(_ start: Expression?) throws(ChatTemplateError) -> Expression? {
        var filter = start
        var below = height
        while isAt(.pipe) {
            height = 0
            filter = try parseFilter(filter)
            try grow(over: below, height)
            below = height
        }
        return filter
    }

    private mutating func parseWith() throws(ChatTemplateError) -> Statement {
        let line = advance().line
        var assignments: [(target: Target, value: Expression)] = []
        while !isAt(.blockEnd) {
            if !assignments.isEmpty { try expect(.comma) }
            let target = try parseTarget()
            try expect(.assign)
            assignments.append((target, try parseExpression()))
        }
        let scope = newScope()
        let body = try parseBlock(until: ["endwith"])
        advance()
        return .with(assignments, body: body, scope: scope, line: line)
    }

    private mutating func parsePrint() throws(ChatTemplateError) -> Statement {
        advance()
        var output: [Statement.Output] = []
        while !isAt(.blockEnd) {
            if !output.isEmpty { try expect(.comma) }
            let line = self.line
            output.append(.expression(try parseExpression(), line: line))
        }
        return .output(output)
    }

    // MARK: Targets

    private mutating func parseTargetName() throws(ChatTemplateError) -> Name {
        let line = self.line
        let name = try expectName()
        guard !["true", "false", "none", "True", "False", "None"].contains(name) else { throw fail("cannot assign to '\(name)'", line: line) }
        return intern(name)
    }

    /// One target or several behind commas, up to the keyword `end` or where an expression must end.
    private mutating func parseTarget(end: String? = nil, withNamespace: Bool = false) throws(ChatTemplateError) -> Target {
        var targets: [Target] = []
        var isTuple = false
        while true {
            if !targets.isEmpty { try expect(.comma) }
            if isAtTupleEnd(end) { break }
            targets.append(try parseSingleTarget(withNamespace: withNamespace))
            guard isAt(.comma) else { break }
            isTuple = true
        }
        if !isTuple {
            guard let only = targets.first else { throw fail("expected a name to assign to, found '\(current.spelling)'") }
            return only
        }
        return .tuple(targets)
    }

    private mutating func parseSingleTarget(withNamespace: Bool) throws(ChatTemplateError) -> Target {
        let line = self.line
        if withNamespace, case .name(let name) = current.kind, next.kind == .symbol(.dot), !Self.literalNames.contains(name) {
            advance()
            advance()
            return .attribute(intern(name), try expectName())
        }
        return try target(from: try parsePrimary(), line: line)
    }

    private func target(from expression: Expression, line: Int) throws(ChatTemplateError) -> Target {
        switch expression {
        case .name(let name): return .name(name)
        case .tuple(let items):
            var targets: [Target] = []
            for item in items { targets.append(try target(from: item, line: line)) }
            return .tuple(targets)
        default: throw fail("cannot assign to this expression", line: line)
        }
    }
}
