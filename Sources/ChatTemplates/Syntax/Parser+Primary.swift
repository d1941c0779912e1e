/// Literals, names, and what may follow them: members, subscripts, calls, filters and tests.
extension Parser {
    static let literalNames: Set<String> = ["true", "false", "none", "True", "False", "None"]

    mutating func parsePrimary() throws(ChatTemplateError) -> Expression {
        let token = current
        height = 1
        switch token.kind {
        case .name(let name):
            advance()
            switch name {
            case "true", "True": return .literal(.bool(true))
            case "false", "False": return .literal(.bool(false))
            case "none", "None": return .literal(.null)
            default: return .name(intern(name))
            }
        case .string(var text):
            advance()
            while case .string(let more) = current.kind {
                text += more
                advance()
            }
            return .literal(.string(text))
        case .integer(let value):
            advance()
            return .literal(.integer(value))
        case .float(let value):
            advance()
            return .literal(.float(value))
        case .symbol(.leftParenthesis):
            advance()
            let expression = try nested { parser throws(ChatTemplateError) in try parser.parseTuple(mayBeEmpty: true) }
            try expect(.rightParenthesis)
            return expression
        case .symbol(.leftBracket): return .list(try parseItems(closing: .rightBracket))
        case .symbol(.leftBrace): return try parseDict()
        default: throw fail("unexpected '\(token.spelling)'")
        }
    }

    private mutating func parseItems(closing: Token.Symbol) throws(ChatTemplateError) -> [Expression] {
        advance()
        var items: [Expression] = []
        var tallest = 0
        while !isAt(closing) {
            if !items.isEmpty { try expect(.comma) }
            if isAt(closing) { break }
            items.append(try parseExpression())
            tallest = max(tallest, height)
        }
        advance()
        try grow(over: tallest)
        return items
    }

    private mutating func parseDict() throws(ChatTemplateError) -> Expression {
        advance()
        var pairs: [Expression.Pair] = []
        var tallest = 0
        while !isAt(.rightBrace) {
            if !pairs.isEmpty { try expect(.comma) }
            if isAt(.rightBrace) { break }
            let key = try parseExpression()
            tallest = max(tallest, height)
            try expect(.colon)
            pairs.append(Expression.Pair(key: key, value: try parseExpression()))
            tallest = max(tallest, height)
        }
        advance()
        try grow(over: tallest)
        return .dict(pairs)
    }

    // MARK: Postfix

    mutating func parsePostfix(_ start: Expression) throws(ChatTemplateError) -> Expression {
        var expression = start
        var below = height
        while true {
            height = 0
            if isAt(.dot) {
                expression = try parseMember(of: expression)
            } else if isAt(.leftBracket) {
                expression = try parseSubscript(of: expression)
            } else if isAt(.leftParenthesis) {
                let line = self.line
                expression = .call(expression, try parseArguments(), line: line)
            } else {
                height = below
                return expression
            }
            try grow(over: below, height)
            below = height
        }
    }

    mutating func parseFilters(_ start: Expression) throws(ChatTemplateError) -> Expression {
        var expression = start
        var below = height
        while true {
            height = 0
            if isAt(.pipe) {
                expression = try parseFilter(expression)
            } else if isAt(keyword: "is") {
                expression = try parseTest(expression)
            } else if isAt(.leftParenthesis) {
                let line = self.line
                expression = .call(expression, try parseArguments(), line: line)
            } else {
                height = below
                return expression
            }
            try grow(over: below, height)
            below = height
        }
    }

    private mutating func parseMember(of expression: Expression) throws(ChatTemplateError) -> Expression {
        advance()
        switch advance().kind {
        case .name(let name): return .attribute(expression, name)
        case .integer(let index): return .item(expression, .literal(.integer(index)))
        default: throw fail("expected a name or number behind '.'")
        }
    }

    private mutating func parseSubscript(of expression: Expression) throws(ChatTemplateError) -> Expression {
        advance()
        var items: [Expression] = []
        var tallest = 0
        while !isAt(.rightBracket) {
            if !items.isEmpty { try expect(.comma) }
            let start = isAt(.colon) ? nil : try parseExpression()
            tallest = max(tallest, height)
            guard skip(.colon) else {
                if let start { items.append(start) }
                continue
            }
            guard items.isEmpty else { throw fail("a slice cannot stand beside another subscript") }
            let stop = isAtSliceEnd ? nil : try parseExpression()
            tallest = max(tallest, height)
            var step: Expression?
            if skip(.colon), !isAtSliceEnd { step = try parseExpression() }
            height = max(tallest, height)
            guard isAt(.rightBracket) else { throw fail("a slice cannot stand beside another subscript") }
            advance()
            return .slice(expression, start: start, stop: stop, step: step)
        }
        advance()
        height = tallest + 1
        return .item(expression, items.count == 1 ? items[0] : .tuple(items))
    }

    private var isAtSliceEnd: Bool { isAt(.colon) || isAt(.rightBracket) || isAt(.comma) }

    // MARK: Calls, filters, tests

    mutating func parseArguments() throws(ChatTemplateError) -> Expression.Arguments {
        let line = advance().line
        var arguments = Expression.Arguments()
        var needsComma = false
        var tallest = 0
        func ensure(_ isValid: Bool) throws(ChatTemplateError) {
            if !isValid { throw fail("invalid arguments of a call", line: line) }
        }
        while !isAt(.rightParenthesis) {
            if needsComma {
                try expect(.comma)
                if isAt(.rightParenthesis) { break }
            }
            if skip(.multiply) {
                try ensure(arguments.unpacked == nil && arguments.unpackedNamed == nil)
                arguments.unpacked = try parseExpression()
            } else if skip(.power) {
                try ensure(arguments.unpackedNamed == nil)
                arguments.unpackedNamed = try parseExpression()
            } else if case .name(let name) = current.kind, next.kind == .symbol(.assign) {
                try ensure(arguments.unpackedNamed == nil)
                try ensure(!arguments.named.contains { $0.name == name })
                advance()
                advance()
                arguments.named.append((name, try parseExpression()))
            } else {
                try ensure(arguments.unpacked == nil && arguments.unpackedNamed == nil && arguments.named.isEmpty)
                arguments.positional.append(try parseExpression())
            }
            needsComma = true
            tallest = max(tallest, height)
        }
        advance()
        height = tallest
        return arguments
    }

    private mutating func parseDottedName() throws(ChatTemplateError) -> String {
        var name = try expectName()
        while skip(.dot) { name += "." + (try expectName()) }
        return name
    }

    mutating func parseFilter(_ operand: Expression?, isFirst: Bool = false) throws(ChatTemplateError) -> Expression {
        if !isFirst { advance() }
        let line = self.line
        let name = try parseDottedName()
        let arguments = isAt(.leftParenthesis) ? try parseArguments() : .none
        return .filter(operand, name, arguments, line: line)
    }

    private mutating func parseTest(_ operand: Expression) throws(ChatTemplateError) -> Expression {
        let line = advance().line
        let isNegated = skip(keyword: "not")
        let name = try parseDottedName()
        var arguments = Expression.Arguments.none
        if isAt(.leftParenthesis) {
            arguments = try parseArguments()
        } else if startsTestArgument, !isAt(anyOf: ["else", "or", "and"]) {
            guard !isAt(keyword: "is") else { throw fail("tests cannot be chained with 'is'") }
            arguments.positional = [try nested { parser throws(ChatTemplateError) in try parser.parsePostfix(try parser.parsePrimary()) }]
        }
        let test = Expression.test(operand, name, arguments, line: line)
        return isNegated ? .not(test) : test
    }

    private var startsTestArgument: Bool {
        switch current.kind {
        case .name, .string, .integer, .float, .symbol(.leftParenthesis), .symbol(.leftBracket), .symbol(.leftBrace): true
        default: false
        }
    }
}
