import OrderedCollections

extension Renderer {
    func evaluate(_ expression: Expression) throws -> Value {
        try charge(1)
        switch expression {
        case .literal(let literal): return literal.value
        case .name(let name): return value(of: name)
        default:
            let value = try deeper { try evaluateCompound(expression) }
            if case .double(let number) = value, !number.isFinite, expression.isConstant {
                // Jinja writes the constant into Python source, which has no such literal.
                throw Failure.unsupported("a constant that is not finite is not supported")
            }
            return value
        }
    }

    private func evaluateCompound(_ expression: Expression) throws -> Value {
        switch expression {
        case .literal(let literal): return literal.value
        case .name(let name): return value(of: name)
        case .tuple(let items): return try .tuple(evaluate(items))
        case .list(let items): return try .list(evaluate(items))
        case .dict(let pairs): return try evaluateDict(pairs)
        case .not(let operand): return .bool(try !isTrue(evaluate(operand)))
        case .negate(let operand): return try negate(evaluate(operand))
        case .plus(let operand): return try plus(evaluate(operand))
        case .binary(let symbol, let left, let right): return try evaluateBinary(symbol, left, right)
        case .and(let left, let right):
            let value = try evaluate(left)
            return try isTrue(value) ? evaluate(right) : value
        case .or(let left, let right):
            let value = try evaluate(left)
            return try isTrue(value) ? value : evaluate(right)
        case .compare(let first, let comparisons): return .bool(try evaluateComparisons(first, comparisons))
        case .concatenate(let items): return try evaluateConcatenation(items)
        case .conditional(let test, let then, let otherwise):
            if try isTrue(evaluate(test)) { return try evaluate(then) }
            if let otherwise { return try evaluate(otherwise) }
            return .undefined(Undefined("the inline if-expression evaluated to false and no else section was defined"))
        case .attribute(let container, let name): return try attribute(name, of: evaluate(container))
        case .item(let container, let index):
            let value = try evaluate(container)
            return try item(evaluate(index), of: value)
        case .slice(let container, let start, let stop, let step):
            do {
                return try evaluateSlice(container, start, stop, step)
            } catch let failure as Failure where failure.code == .type && expression.isConstant {
                // Jinja computes it while compiling, by other rules, and may take it for undefined.
                throw Failure.unsupported("slicing this constant is not supported")
            }
        case .call(let callee, let arguments, let line):
            let function = try evaluate(callee)
            let values = try evaluate(arguments)
            self.line = line
            return try call(function, values)
        case .filter(let operand, let name, let arguments, let line): return try evaluateFilter(operand, name, arguments, line: line)
        case .test(let operand, let name, let arguments, let line):
            let value = try evaluate(operand)
            let values = try evaluate(arguments)
            self.line = line
            return .bool(try applyTest(name, to: value, values))
        }
    }

    /// Python's truth of a value; the loop object alone must be asked for its length.
    func isTrue(_ value: Value) throws -> Bool {
        if case .loop(let loop) = value { return try loop.count(self) > 0 }
        return value.isTruthy
    }

    func evaluate(_ expressions: [Expression]) throws -> [Value] {
        var values: [Value] = []
        values.reserveCapacity(expressions.count)
        for expression in expressions { values.append(try evaluate(expression)) }
        return values
    }

    private func evaluateDict(_ pairs: [Expression.Pair]) throws -> Value {
        var storage: OrderedDictionary<Key, Value> = [:]
        for pair in pairs {
            let key = try Key(evaluate(pair.key))
            storage[key] = try evaluate(pair.value)
        }
        return try .dict(storage)
    }

    private func evaluateConcatenation(_ items: [Expression]) throws -> Value {
        var text = ""
        for item in items { text += try string(of: evaluate(item)) }
        return try paid(text)
    }

    private func evaluateComparisons(_ first: Expression, _ comparisons: [Expression.Comparison]) throws -> Bool {
        var left = try evaluate(first)
        for comparison in comparisons {
            let right = try evaluate(comparison.operand)
            let holds =
                switch comparison.symbol {
                case .equal: try areEqual(left, right)
                case .notEqual: try !areEqual(left, right)
                case .less: try isLess(left, right)
                case .lessOrEqual: try isLess(left, right, orEqual: true, symbol: "<=")
                case .greater: try isLess(right, left, symbol: ">")
                case .greaterOrEqual: try isLess(right, left, orEqual: true, symbol: ">=")
                case .in: try contains(right, left)
                case .notIn: try !contains(right, left)
                }
            if !holds { return false }
            left = right
        }
        return true
    }

    private func evaluateSlice(_ container: Expression, _ start: Expression?, _ stop: Expression?, _ step: Expression?) throws -> Value {
        let value = try evaluate(container)
        let bounds = try [start, stop, step].map { try $0.map { try evaluate($0) } ?? .null }
        return try slice(value, bounds[0], bounds[1], bounds[2])
    }

    private func evaluateFilter(_ operand: Expression?, _ name: String, _ arguments: Expression.Arguments, line: Int) throws -> Value {
        let value = try operand.map { try evaluate($0) } ?? .string(capturedText ?? "")
        let values = try evaluate(arguments)
        self.line = line
        return try applyFilter(name, to: value, values)
    }

    private func evaluateBinary(_ symbol: Expression.BinaryOperator, _ left: Expression, _ right: Expression) throws -> Value {
        let leftValue = try evaluate(left)
        let rightValue = try evaluate(right)
        // Jinja writes a constant left side into Python source as it is, where the power binds tighter than a minus sign.
        if symbol == .power, left.isConstant, !right.isConstant {
            switch leftValue {
            case .int(let value) where value < 0: return try negate(binary(symbol, negate(leftValue), rightValue))
            case .double(let value) where value.sign == .minus: return try negate(binary(symbol, negate(leftValue), rightValue))
            default: break
            }
        }
        return try binary(symbol, leftValue, rightValue)
    }

    func evaluate(_ arguments: Expression.Arguments) throws -> CallArguments {
        var values = CallArguments()
        if arguments.positional.isEmpty, arguments.named.isEmpty, arguments.unpacked == nil, arguments.unpackedNamed == nil { return values }
        values.positional = try evaluate(arguments.positional)
        for (name, value) in arguments.named { values.named.append((name, try evaluate(value))) }
        if let unpacked = arguments.unpacked { values.positional += try elements(of: evaluate(unpacked)) }
        if let unpacked = arguments.unpackedNamed {
            guard case .dict(let entries) = try evaluate(unpacked) else { throw Failure.type("argument after ** must be a mapping") }
            for (key, value) in entries.storage {
                guard let name = key.value.text else { throw Failure.type("keywords must be strings") }
                guard !values.named.contains(where: { $0.name == name }) else {
                    throw Failure.type("got multiple values for keyword argument '\(name)'")
                }
                values.named.append((name, value))
            }
        }
        return values
    }

    /// All elements of something iterable, paid for.
    func elements(of value: Value) throws -> [Value] {
        if let count = value.count {
            try charge(count)
            return value.elementsAtHand ?? []
        }
        let iterator = try value.makeIterator()
        var elements: [Value] = []
        while let element = try iterator.next() {
            try charge(1)
            elements.append(element)
        }
        return elements
    }
}

extension Expression {
    /// Whether Jinja computes it while compiling.
    var isConstant: Bool {
        switch self {
        case .name, .call: return false
        case .conditional(_, _, let otherwise): if otherwise == nil { return false }
        case .filter(let operand, let name, _, _):
            if operand == nil || !FilterCatalog.names.contains(name) || FilterCatalog.needsContext.contains(name) { return false }
        case .test(_, let name, _, _): if !TestCatalog.names.contains(name) { return false }
        default: break
        }
        return children.allSatisfy(\.isConstant)
    }
}
