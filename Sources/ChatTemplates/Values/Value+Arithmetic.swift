#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Python's arithmetic operators, within 64-bit integers.
extension Renderer {
    func binary(_ symbol: Expression.BinaryOperator, _ left: Value, _ right: Value) throws -> Value {
        if symbol == .modulo, let format = left.text {
            if case .markup = left { throw Failure.unsupported("formatting a safe text with % is not supported") }
            return try formatted(format, with: right)
        }
        if case .undefined(let undefined) = left { throw undefined.failure }
        if case .undefined(let undefined) = right { throw undefined.failure }
        if let left = left.index, let right = right.index { return try Self.integers(symbol, left, right) }
        if let left = Self.number(left), let right = Self.number(right) { return .double(try Self.doubles(symbol, left, right)) }
        switch symbol {
        case .add: if let sum = try concatenated(left, right) { return sum }
        case .multiply:
            if let count = right.index, let product = try repeated(left, count) { return product }
            if let count = left.index, let product = try repeated(right, count) { return product }
        case .subtract:
            if case .view = left { throw Failure.unsupported("set operations on dict views are not supported") }
        default: break
        }
        throw Failure.type("unsupported operand type(s) for \(symbol.rawValue): '\(left.typeName)' and '\(right.typeName)'")
    }

    private static func number(_ value: Value) -> Double? {
        if case .double(let number) = value { return number }
        return value.index.map(Double.init)
    }

    // MARK: Numbers

    private static func integers(_ symbol: Expression.BinaryOperator, _ left: Int, _ right: Int) throws -> Value {
        func checked(_ result: (partialValue: Int, overflow: Bool)) throws -> Value {
            guard !result.overflow else { throw Failure.integerRange }
            return .int(result.partialValue)
        }
        switch symbol {
        case .add: return try checked(left.addingReportingOverflow(right))
        case .subtract: return try checked(left.subtractingReportingOverflow(right))
        case .multiply: return try checked(left.multipliedReportingOverflow(by: right))
        case .divide:
            guard right != 0 else { throw Failure.value("division by zero") }
            return .double(quotient(left, right))
        case .floorDivide:
            guard right != 0 else { throw Failure.value("integer division or modulo by zero") }
            let quotient = left.dividedReportingOverflow(by: right)
            guard !quotient.overflow else { throw Failure.integerRange }
            let isBelow = left % right != 0 && (left < 0) != (right < 0)
            return .int(quotient.partialValue - (isBelow ? 1 : 0))
        case .modulo:
            guard right != 0 else { throw Failure.value("integer division or modulo by zero") }
            if right == -1 { return .int(0) }
            let remainder = left % right
            return .int(remainder != 0 && (remainder < 0) != (right < 0) ? remainder + right : remainder)
        case .power:
            guard right >= 0 else {
                guard left != 0 else { throw Failure.value("0.0 cannot be raised to a negative power") }
                return .double(try doubles(.power, Double(left), Double(right)))
            }
            return .int(try power(left, right))
        }
    }

    /// The double nearest to the exact quotient, which dividing two doubles would miss beyond 2**53.
    private static func quotient(_ left: Int, _ right: Int) -> Double {
        guard left != 0 else { return right < 0 ? -0.0 : 0 }
        let shift = 127 - (64 - left.magnitude.leadingZeroBitCount)
        let (whole, rest) = (UInt128(left.magnitude) << shift).quotientAndRemainder(dividingBy: UInt128(right.magnitude))
        let magnitude = Double(rest == 0 ? whole : whole | 1) * Double(sign: .plus, exponent: -shift, significand: 1)
        return (left < 0) == (right < 0) ? magnitude : -magnitude
    }

    static func power(_ base: Int, _ exponent: Int) throws -> Int {
        if base == 0 || base == 1 || exponent == 0 { return exponent == 0 ? 1 : base }
        if base == -1 { return exponent % 2 == 0 ? 1 : -1 }
        guard exponent < 64 else { throw Failure.integerRange }
        var result = 1
        for _ in 0..<exponent {
            let product = result.multipliedReportingOverflow(by: base)
            guard !product.overflow else { throw Failure.integerRange }
            result = product.partialValue
        }
        return result
    }

    static func doubles(_ symbol: Expression.BinaryOperator, _ left: Double, _ right: Double) throws -> Double {
        switch symbol {
        case .add: return left + right
        case .subtract: return left - right
        case .multiply: return left * right
        case .divide:
            guard right != 0 else { throw Failure.value("float division by zero") }
            return left / right
        case .floorDivide, .modulo:
            guard right != 0 else { throw Failure.value("float floor division or modulo by zero") }
            let (quotient, remainder) = floorDivided(left, right)
            return symbol == .modulo ? remainder : quotient
        case .power:
            if left == 0, right < 0 { throw Failure.value("0.0 cannot be raised to a negative power") }
            if left < 0, left.isFinite, right.isFinite, right != right.rounded() { throw Failure.unsupported("a complex number is not supported") }
            let result = pow(left, right)
            if result.isInfinite, left.isFinite, right.isFinite { throw Failure.value("the result of ** is too large") }
            return result
        }
    }

    /// CPython's `divmod` of two floats.
    private static func floorDivided(_ left: Double, _ right: Double) -> (quotient: Double, remainder: Double) {
        var remainder = left.truncatingRemainder(dividingBy: right)
        var quotient = (left - remainder) / right
        if remainder != 0 {
            if (right < 0) != (remainder < 0) {
                remainder += right
                quotient -= 1
            }
        } else {
            remainder = Double(signOf: right, magnitudeOf: 0)
        }
        if quotient != 0 {
            var floor = quotient.rounded(.down)
            if quotient - floor > 0.5 { floor += 1 }
            return (floor, remainder)
        }
        return (Double(signOf: left / right, magnitudeOf: 0), remainder)
    }

    func negate(_ value: Value) throws -> Value {
        switch value {
        case .undefined(let undefined): throw undefined.failure
        case .double(let number): return .double(-number)
        default:
            guard let integer = value.index else { throw Failure.type("bad operand type for unary -: '\(value.typeName)'") }
            guard integer != .min else { throw Failure.integerRange }
            return .int(-integer)
        }
    }

    func plus(_ value: Value) throws -> Value {
        switch value {
        case .undefined(let undefined): throw undefined.failure
        case .double: return value
        default:
            guard let integer = value.index else { throw Failure.type("bad operand type for unary +: '\(value.typeName)'") }
            return .int(integer)
        }
    }

    // MARK: Texts and lists

    private func concatenated(_ left: Value, _ right: Value) throws -> Value? {
        switch (left, right) {
        case (.list(let left), .list(let right)): return try paidList(left.elements + right.elements)
        case (.tuple(let left), .tuple(let right)):
            try charge(left.elements.count + right.elements.count)
            return try .tuple(left.elements + right.elements)
        case (.string(let left), .string(let right)): return try paid(left + right)
        case (.markup(let left), .markup(let right)): return .markup(try joined(left, right))
        case (.markup(let left), .string(let right)): return .markup(try joined(left, right.markupEscaped))
        case (.string(let left), .markup(let right)): return .markup(try joined(left.markupEscaped, right))
        default: return nil
        }
    }

    private func joined(_ left: String, _ right: String) throws -> String {
        try charge(textByteCount: left.utf8.count + right.utf8.count)
        return left + right
    }

    private func repeated(_ value: Value, _ count: Int) throws -> Value? {
        func size(_ unit: Int) throws {
            let product = unit.multipliedReportingOverflow(by: max(0, count))
            try charge(product.overflow ? .max : product.partialValue)
        }
        switch value {
        case .string(let text), .markup(let text):
            try size(text.utf8.count / 16 + 1)
            let result = text.isEmpty ? "" : String(repeating: text, count: max(0, count))
            if case .markup = value { return .markup(result) }
            return .string(result)
        case .list(let items):
            try size(items.elements.count)
            return try .list(Self.repeated(items.elements, count))
        case .tuple(let items):
            try size(items.elements.count)
            return try .tuple(Self.repeated(items.elements, count))
        default: return nil
        }
    }

    private static func repeated(_ elements: [Value], _ count: Int) -> [Value] {
        guard count > 0, !elements.isEmpty else { return [] }
        var result: [Value] = []
        result.reserveCapacity(elements.count * count)
        for _ in 0..<count { result += elements }
        return result
    }
}
