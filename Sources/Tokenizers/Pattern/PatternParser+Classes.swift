extension PatternParser {
    /// What an escape stands for.
    enum Item {
        case scalar(UInt32)
        case set(ScalarSet)
    }

    /// Reads an escape from its backslash on.
    mutating func parseEscapedItem() throws(Failure) -> Item {
        advance()
        guard let scalar = current else { throw failure("a backslash at the end") }
        let kinds = ScalarKinds.shared
        advance()
        func classItem(_ mask: UInt64, negated: Bool) -> Item {
            var set = ScalarSet(kinds: mask)
            if negated { set.negate() }
            return .set(set)
        }
        switch Unicode.Scalar(scalar) {
        case "n": return .scalar(0x0A)
        case "r": return .scalar(0x0D)
        case "t": return .scalar(0x09)
        case "f": return .scalar(0x0C)
        case "v": return .scalar(0x0B)
        case "a": return .scalar(0x07)
        case "e": return .scalar(0x1B)
        case "s": return classItem(kinds.mask(.space), negated: false)
        case "S": return classItem(kinds.mask(.space), negated: true)
        case "d": return classItem(kinds.mask(category: "Nd") ?? 0, negated: false)
        case "D": return classItem(kinds.mask(category: "Nd") ?? 0, negated: true)
        case "w": return classItem(kinds.mask(.patternWord), negated: false)
        case "W": return classItem(kinds.mask(.patternWord), negated: true)
        case "p": return try parseProperty(negated: false)
        case "P": return try parseProperty(negated: true)
        case "x":
            if take("{") {
                let value = takeHexadecimal(maximumDigits: 8)
                guard let value, take("}"), Unicode.Scalar(value) != nil else { throw failure("this \\x escape") }
                return .scalar(value)
            }
            guard let value = takeHexadecimal(maximumDigits: 2), value < 0x80 else { throw failure("this \\x escape") }
            return .scalar(value)
        case "u":
            guard let value = takeHexadecimal(exactDigits: 4), Unicode.Scalar(value) != nil else { throw failure("this \\u escape") }
            return .scalar(value)
        case .some(let character):
            let isPunctuation = scalar < 0x80 && scalar > 0x20 && !character.properties.isAlphabetic && !(0x30...0x39).contains(scalar)
            guard isPunctuation || scalar == 0x20 else { throw failure("the escape \\\(character)") }
            return .scalar(scalar)
        case nil: throw failure("this escape")
        }
    }

    private mutating func takeHexadecimal(maximumDigits: Int) -> UInt32? {
        var value: UInt32?
        var count = 0
        while count < maximumDigits, let scalar = current, let digit = Self.hexadecimalDigit(scalar) {
            value = (value ?? 0) << 4 | digit
            count += 1
            advance()
        }
        return value
    }

    private mutating func takeHexadecimal(exactDigits: Int) -> UInt32? {
        var value: UInt32 = 0
        for _ in 0..<exactDigits {
            guard let scalar = current, let digit = Self.hexadecimalDigit(scalar) else { return nil }
            value = value << 4 | digit
            advance()
        }
        return value
    }

    private static func hexadecimalDigit(_ scalar: UInt32) -> UInt32? {
        switch scalar {
        case 0x30...0x39: scalar - 0x30
        case 0x41...0x46: scalar - 0x41 + 10
        case 0x61...0x66: scalar - 0x61 + 10
        default: nil
        }
    }

    /// `{Lu}`, `{^Lu}` behind `\p` or `\P`.
    private mutating func parseProperty(negated: Bool) throws(Failure) -> Item {
        guard take("{") else { throw failure("\\p without braces") }
        let isNegated = take("^") != negated
        var name = ""
        while let scalar = current, scalar != 0x7D, name.utf8.count < 32, let character = Unicode.Scalar(scalar) {
            name.unicodeScalars.append(character)
            advance()
        }
        let kinds = ScalarKinds.shared
        let longNames = [
            "Letter": "L", "Number": "N", "Mark": "M", "Punctuation": "P", "Symbol": "S", "Separator": "Z",
            "Uppercase_Letter": "Lu", "Lowercase_Letter": "Ll", "Decimal_Number": "Nd",
        ]
        guard let mask = name == "Han" ? kinds.mask(.han) : kinds.mask(category: longNames[name] ?? name), take("}") else {
            throw failure("the property \\p{\(name)}")
        }
        var set = ScalarSet(kinds: mask)
        if isNegated { set.negate() }
        return .set(set)
    }

    /// Reads `[...]` from its bracket on, classes in it included.
    mutating func parseClass(depth: Int = 0) throws(Failure) -> ScalarSet {
        guard depth < 16 else { throw failure("a class nested this deep") }
        advance()
        let isNegated = take("^")
        var set = ScalarSet()
        var isFirst = true
        while true {
            guard let scalar = current else { throw failure("a class without an end") }
            if scalar == 0x5D, !isFirst {
                advance()
                break
            }
            isFirst = false
            var low: UInt32 = scalar
            switch scalar {
            case 0x5B:
                if startsWith("[:") { throw failure("a POSIX bracket") }
                let inner = try parseClass(depth: depth + 1)
                guard set.formUnion(inner) else { throw failure("a negated class of this form inside a class") }
                continue
            case 0x26 where startsWith("&&"): throw failure("an intersection of classes")
            case 0x5C:
                switch try parseEscapedItem() {
                case .scalar(let value): low = value
                case .set(let inner):
                    if foldsCase { throw failure("a class of many letters under (?i:") }
                    guard set.formUnion(inner) else { throw failure("a negated class of this form inside a class") }
                    if current == 0x2D, !startsWith("-]") { throw failure("a '-' behind a class") }
                    continue
                }
            default: advance()
            }
            var high = low
            if current == 0x2D, !startsWith("-]") {
                advance()
                guard let end = current else { throw failure("a class without an end") }
                if end == 0x5C {
                    guard case .scalar(let value) = try parseEscapedItem() else { throw failure("a class at the end of a range") }
                    high = value
                } else {
                    if end == 0x5B || startsWith("&&") { throw failure("a class at the end of a range") }
                    high = end
                    advance()
                }
                guard high >= low else { throw failure("a range that runs backwards") }
                if current == 0x2D, !startsWith("-]") { throw failure("a '-' behind a range") }
            }
            try insert(low...high, into: &set)
        }
        if isNegated, foldsCase { throw failure("a negated class under (?i:") }
        if isNegated { set.negate() }
        set.finish()
        return set
    }

    private func insert(_ range: ClosedRange<UInt32>, into set: inout ScalarSet) throws(Failure) {
        set.insert(range)
        guard foldsCase else { return }
        guard range.upperBound < 0x80 else { throw failure("a letter beyond ASCII under (?i:") }
        for scalar in range {
            for other in Self.cases(of: scalar) ?? [] { set.insert(other...other) }
        }
    }

    private func startsWith(_ text: String) -> Bool {
        var copy = self
        return copy.take(text)
    }
}
