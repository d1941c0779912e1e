/// Operators by rising precedence; each function reads one level.
extension Parser {
    func isAtTupleEnd(_ keyword: String? = nil) -> Bool {
        if isAt(.variableEnd) || isAt(.blockEnd) || isAt(.rightParenthesis) { return true }
        return keyword.map { isAt(keyword: $0) } ?? false
    }

    /// An expression, or several behind commas, which make a tuple.
    mutating func parseTuple(
        withConditional: Bool = true, end: String? = nil, mayBeEmpty: Bool = false
    ) throws(ChatTemplateError) -> Expression {
        var items: [Expression] = []
        var isTuple = false
        var tallest = 0
        while true {
            if !items.isEmpty { try expect(.comma) }
            if isAtTupleEnd(end) { break }
            items.append(try parseExpression(withConditional: withConditional))
            tallest = max(tallest, height)
            guard isAt(.comma) else { break }
            isTuple = true
        }
        if !isTuple {
            if let only = items.first { return only }
            guard mayBeEmpty else { throw fail("expected an expression, found '\(current.spelling)'") }
        }
        try grow(over: tallest)
        return .tuple(items)
    }

    mutating func parseExpression(withConditional: Bool = true) throws(ChatTemplateError) -> Expression {
        try nested { parser throws(ChatTemplateError) in
            withConditional ? try parser.parseConditional() : try parser.parseOr()
        }
    }

    private mutating func parseConditional() throws(ChatTemplateError) -> Expression {
        var expression = try parseOr()
        var tallest = height
        while skip(keyword: "if") {
            let test = try parseOr()
            tallest = max(tallest, height)
            var otherwise: Expression?
            if skip(keyword: "else") { otherwise = try nested { parser throws(ChatTemplateError) in try parser.parseConditional() } }
            expression = .conditional(test: test, then: expression, otherwise: otherwise)
            try grow(over: tallest, height)
            tallest = height
        }
        return expression
    }

    /// A chain of operators of one level, which grows to the left.
    private mutating func parseChain(
        _ operand: (inout Parser) throws(ChatTemplateError) -> Expression,
        _ combine: (inout Parser, Expression) throws(ChatTemplateError) -> Expression?
    ) throws(ChatTemplateError) -> Expression {
        var left = try operand(&self)
        var leftHeight = height
        while let longer = try combine(&self, left) {
            left = longer
            try grow(over: leftHeight, height)
            leftHeight = height
        }
        return left
    }

    private mutating func parseOr() throws(ChatTemplateError) -> Expression {
        try parseChain { parser throws(ChatTemplateError) in
            try parser.parseAnd()
        } _: { parser, left throws(ChatTemplateError) in
            parser.skip(keyword: "or") ? .or(left, try parser.parseAnd()) : nil
        }
    }

    private mutating func parseAnd() throws(ChatTemplateError) -> Expression {
        try parseChain { parser throws(ChatTemplateError) in
            try parser.parseNot()
        } _: { parser, left throws(ChatTemplateError) in
            parser.skip(keyword: "and") ? .and(left, try parser.parseNot()) : nil
        }
    }

    private mutating func parseNot() throws(ChatTemplateError) -> Expression {
        guard skip(keyword: "not") else { return try parseComparison() }
        let operand = try nested { parser throws(ChatTemplateError) in try parser.parseNot() }
        try grow(over: height)
        return .not(operand)
    }

    private mutating func parseComparison() throws(ChatTemplateError) -> Expression {
        let first = try parseSum()
        var tallest = height
        var comparisons: [Expression.Comparison] = []
        while true {
            var symbol: Expression.ComparisonOperator?
            if case .symbol(let token) = current.kind {
                symbol = Expression.ComparisonOperator(rawValue: token.rawValue)
            } else if isAt(keyword: "in") {
                symbol = .in
            } else if isAt(keyword: "not"), next.kind == .name("in") {
                advance()
                symbol = .notIn
            }
            guard let symbol else { break }
            advance()
            comparisons.append(Expression.Comparison(symbol: symbol, operand: try parseSum()))
            tallest = max(tallest, height)
        }
        if comparisons.isEmpty { return first }
        try grow(over: tallest)
        return .compare(first, comparisons)
    }

    private mutating func parseSum() throws(ChatTemplateError) -> Expression {
        try parseBinary([.add, .subtract]) { parser throws(ChatTemplateError) in try parser.parseConcatenation() }
    }

    private mutating func parseConcatenation() throws(ChatTemplateError) -> Expression {
        var items = [try parseProduct()]
        var tallest = height
        while skip(.tilde) {
            items.append(try parseProduct())
            tallest = max(tallest, height)
        }
        if items.count == 1 { return items[0] }
        try grow(over: tallest)
        return .concatenate(items)
    }

    private mutating func parseProduct() throws(ChatTemplateError) -> Expression {
        try parseBinary([.multiply, .divide, .floorDivide, .modulo]) { parser throws(ChatTemplateError) in try parser.parsePower() }
    }

    /// Jinja's power groups to the left, other than Python's.
    private mutating func parsePower() throws(ChatTemplateError) -> Expression {
        try parseBinary([.power]) { parser throws(ChatTemplateError) in try parser.parseUnary() }
    }

    private mutating func parseBinary(
        _ operators: [Expression.BinaryOperator], _ operand: (inout Parser) throws(ChatTemplateError) -> Expression
    ) throws(ChatTemplateError) -> Expression {
        try parseChain(operand) { parser, left throws(ChatTemplateError) in
            guard case .symbol(let token) = parser.current.kind, let symbol = Expression.BinaryOperator(rawValue: token.rawValue),
                operators.contains(symbol)
            else { return nil }
            parser.advance()
            return .binary(symbol, left, try operand(&parser))
        }
    }

    private mutating func parseUnary(withFilter: Bool = true) throws(ChatTemplateError) -> Expression {
        var expression: Expression
        if skip(.subtract) {
            expression = .negate(try nested { parser throws(ChatTemplateError) in try parser.parseUnary(withFilter: false) })
            try grow(over: height)
        } else if skip(.add) {
            expression = .plus(try nested { parser throws(ChatTemplateError) in try parser.parseUnary(withFilter: false) })
            try grow(over: height)
        } else {
            expression = try parsePrimary()
        }
        expression = try parsePostfix(expression)
        return withFilter ? try parseFilters(expression) : expression
    }
}
