#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

extension FilterCatalog {
    static let numbers: [String: Filter] = [
        "abs": { renderer, value, arguments in
            try arguments.expectNone("abs")
            if case .double(let number) = value { return .double(number.magnitude) }
            guard let integer = value.index else { throw Failure.type("bad operand type for abs(): '\(value.typeName)'") }
            return integer < 0 ? try renderer.negate(.int(integer)) : .int(integer)
        },
        "int": { try $0.makeInteger($1, $2) },
        "float": { renderer, value, arguments in
            let fallback = try arguments.bind("float", ["default"])[0] ?? .double(0)
            if case .undefined(let undefined) = value { throw undefined.failure }
            if let text = value.text { return Double(pythonText: text).map { .double($0) } ?? fallback }
            return renderer.double(value).map { .double($0) } ?? fallback
        },
        "round": { try $0.round($1, $2) },
        "sum": { renderer, value, arguments in
            let values = try arguments.bind("sum", ["attribute", "start"])
            var sum = values[1] ?? .int(0)
            if sum.text != nil { throw Failure.type("sum() can't sum strings [use ''.join(seq) instead]") }
            let path = try AttributePath(values[0] ?? .null)
            let iterator = try value.makeIterator()
            while let element = try iterator.next() { sum = try renderer.binary(.add, sum, path.value(of: element, renderer)) }
            return sum
        },
        "min": { try $0.extreme($1, $2, isMaximum: false) },
        "max": { try $0.extreme($1, $2, isMaximum: true) },
    ]
}

extension Renderer {
    fileprivate func makeInteger(_ value: Value, _ arguments: CallArguments) throws -> Value {
        let values = try arguments.bind("int", ["default", "base"])
        let fallback = values[0] ?? .int(0)
        switch value {
        case .undefined(let undefined): throw undefined.failure
        case .string(let text), .markup(let text):
            try charge(textByteCount: text.utf8.count)
            guard let base = (values[1] ?? .int(10)).index else { return try integer(fromDecimal: text) ?? fallback }
            if let integer = try? Int.pythonParsed(text, radix: base) { return .int(integer) }
            // A fault of the base counts as one of the number; a number that is too big for us does not.
            do {
                _ = try Int.pythonParsed(text, radix: base)
            } catch let failure as Failure where failure.code != .value {
                throw failure
            }
            return try integer(fromDecimal: text) ?? fallback
        case .double(let number):
            if number.isNaN { return fallback }
            return .int(try integer(truncating: number))
        default: return value.index.map { .int($0) } ?? fallback
        }
    }

    /// `int(float(text))`, so that "42.23" is 42.
    private func integer(fromDecimal text: String) throws -> Value? {
        guard let number = Double(pythonText: text), number.isFinite else { return nil }
        return .int(try integer(truncating: number))
    }

    fileprivate func round(_ value: Value, _ arguments: CallArguments) throws -> Value {
        let values = try arguments.bind("round", ["precision", "method"])
        let method = values[1] ?? .string("common")
        guard let name = method.text, ["common", "ceil", "floor"].contains(name) else { throw Failure.value("method must be common, ceil or floor") }
        if case .undefined(let undefined) = value { throw undefined.failure }
        if name == "common", case .some(.null) = values[0] {
            if case .double(let number) = value { return .int(try integer(truncating: number.rounded(.toNearestOrEven))) }
            return .int(try requiredInteger(value, 0))
        }
        let precision = try requiredInteger(values[0], 0)
        if name == "common" {
            if case .double(let number) = value { return .double(try Self.rounded(number, precision)) }
            guard let integer = value.index else { throw Failure.type("type \(value.typeName) doesn't define __round__ method") }
            return .int(try Self.rounded(integer, precision))
        }
        // As Jinja computes it: func(value * 10**precision) / 10**precision.
        let scale = try binary(.power, .int(10), .int(precision))
        let product = try binary(.multiply, value, scale)
        guard let number = double(product) else { throw Failure.type("must be real number, not \(value.typeName)") }
        let whole: Value
        if case .double = product {
            whole = .int(try integer(truncating: name == "ceil" ? number.rounded(.up) : number.rounded(.down)))
        } else {
            whole = product
        }
        return try binary(.divide, whole, scale)
    }

    private static func rounded(_ number: Double, _ precision: Int) throws -> Double {
        guard number.isFinite, precision <= 323 else { return number }
        if precision < -308 { return Double(signOf: number, magnitudeOf: 0) }
        if precision >= 0 {
            let text = DecimalExpansion(number, places: precision).text
            guard let result = Double((number.sign == .minus ? "-" : "") + text), result.isFinite else {
                throw Failure.value("rounded value too large to represent")
            }
            return result
        }
        // Ten to a negative power: round the whole number's decimal digits, half to even on the exact value.
        let text = Array(DecimalExpansion(number.magnitude.rounded(.towardZero), places: 0).text.utf8)
        let kept = text.count + precision
        guard kept >= 0 else { return Double(signOf: number, magnitudeOf: 0) }
        let rest = text[kept...]
        let isExactHalf =
            rest.first == UInt8(ascii: "5") && rest.dropFirst().allSatisfy { $0 == UInt8(ascii: "0") }
            && number.magnitude == number.magnitude.rounded(.towardZero)
        let lastIsOdd = kept > 0 && text[kept - 1] % 2 == 1
        let roundsUp = isExactHalf ? lastIsOdd : (rest.first ?? 0) >= UInt8(ascii: "5")
        var head = [UInt8(ascii: "0")] + text[..<kept]
        if roundsUp {
            var index = head.count - 1
            while head[index] == UInt8(ascii: "9") {
                head[index] = UInt8(ascii: "0")
                index -= 1
            }
            head[index] += 1
        }
        guard let result = Double("\(String(utf8Bytes: head))e\(-precision)"), result.isFinite else {
            throw Failure.value("rounded value too large to represent")
        }
        return Double(signOf: number, magnitudeOf: result)
    }

    private static func rounded(_ integer: Int, _ precision: Int) throws -> Int {
        if precision >= 0 { return integer }
        guard precision > -19 else { return 0 }
        let unit = try power(10, -precision)
        let remainder = integer.magnitude % unit.magnitude
        let floor = integer.magnitude - remainder
        let half = unit.magnitude / 2
        let isUp = remainder > half || (remainder == half && (floor / unit.magnitude) % 2 == 1)
        let magnitude = floor.addingReportingOverflow(isUp ? unit.magnitude : 0)
        guard !magnitude.overflow, let result = Int(exactly: magnitude.partialValue) else { throw Failure.integerRange }
        return integer < 0 ? -result : result
    }

    fileprivate func extreme(_ value: Value, _ arguments: CallArguments, isMaximum: Bool) throws -> Value {
        let values = try arguments.bind(isMaximum ? "max" : "min", ["case_sensitive", "attribute"])
        let isCaseSensitive = try flag(values[0])
        let path = try AttributePath(values[1] ?? .null)
        let iterator = try value.makeIterator()
        guard var best = try iterator.next() else { return .undefined(Undefined("No aggregated item, sequence was empty.")) }
        func key(_ element: Value) throws -> Value { try sortKey(path.value(of: element, self), isCaseSensitive: isCaseSensitive) }
        var bestKey = try key(best)
        while let element = try iterator.next() {
            let elementKey = try key(element)
            let isBetter = try isMaximum ? isLess(bestKey, elementKey, symbol: ">") : isLess(elementKey, bestKey)
            if isBetter { (best, bestKey) = (element, elementKey) }
        }
        return best
    }
}
