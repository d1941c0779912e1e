import OrderedCollections

/// `format % values`, with the conversions s, r, d, i, u, c, x, X, o, f, F and %.
extension Renderer {
    func formatted(_ format: String, with value: Value) throws -> Value {
        try charge(textByteCount: format.utf8.count)
        var formatter = PrintfFormatter(format: Array(format.unicodeScalars), value: value)
        let text = try formatter.run(self)
        return try paid(text)
    }
}

private struct PrintfFormatter {
    let format: [Unicode.Scalar]
    let value: Value
    private var position = 0
    private var nextValue = 0
    private var usedMembers = false

    init(format: [Unicode.Scalar], value: Value) {
        self.format = format
        self.value = value
    }

    mutating func run(_ renderer: Renderer) throws -> String {
        var result = String.UnicodeScalarView()
        while position < format.count {
            let scalar = format[position]
            position += 1
            guard scalar == "%" else {
                result.append(scalar)
                continue
            }
            let piece = try conversion(renderer)
            try renderer.charge(textByteCount: piece.utf8.count)
            result.append(text: piece)
        }
        try checkAllUsed()
        return String(result)
    }

    /// Python lets values be left over when they come in a mapping, which lists and undefined values count as.
    private func checkAllUsed() throws {
        switch value {
        case .tuple(let items): if nextValue < items.elements.count { throw leftOver }
        case .dict, .list, .range, .undefined: break
        default: if nextValue == 0, !usedMembers { throw leftOver }
        }
    }

    private var leftOver: Failure { .type("not all arguments converted during string formatting") }

    private mutating func argument() throws -> Value {
        defer { nextValue += 1 }
        if case .tuple(let items) = value {
            guard nextValue < items.elements.count else { throw Failure.type("not enough arguments for format string") }
            return items.elements[nextValue]
        }
        guard nextValue == 0 else { throw Failure.type("not enough arguments for format string") }
        return value
    }

    private mutating func next() throws -> Unicode.Scalar {
        guard position < format.count else { throw Failure.value("incomplete format") }
        defer { position += 1 }
        return format[position]
    }

    private mutating func conversion(_ renderer: Renderer) throws -> String {
        var member: Value?
        var scalar = try next()
        if scalar == "(" {
            member = try namedArgument()
            scalar = try next()
        }
        var specification = NumberLayout()
        var flags = Set<Unicode.Scalar>()
        while "-+ #0".unicodeScalars.contains(scalar) {
            flags.insert(scalar)
            scalar = try next()
        }
        if scalar == "*" { throw Failure.unsupported("a * in a format is not supported") }
        specification.width = try number(&scalar)
        if scalar == "." {
            scalar = try next()
            if scalar == "*" { throw Failure.unsupported("a * in a format is not supported") }
            specification.precision = try number(&scalar) ?? 0
        }
        while "hlL".unicodeScalars.contains(scalar) { scalar = try next() }
        if scalar == "%" { return "%" }
        let value = try member ?? argument()
        if flags.contains("#") { throw Failure.unsupported("the flag # in a format is not supported") }
        specification.alignment = flags.contains("-") ? "<" : nil
        specification.fillsWithZeros = flags.contains("0") && !flags.contains("-")
        specification.sign = flags.contains("+") ? "+" : flags.contains(" ") ? " " : "-"
        return try convert(value, scalar, specification, renderer)
    }

    private func convert(_ value: Value, _ type: Unicode.Scalar, _ specification: NumberLayout, _ renderer: Renderer) throws -> String {
        switch type {
        case "s", "r", "a":
            if type == "a" { throw Failure.unsupported("the conversion %a is not supported") }
            let text = try type == "s" ? renderer.string(of: value) : renderer.representation(of: value)
            let cut = specification.precision.map { String(scalars: text.unicodeScalars.prefix($0)) } ?? text
            return try specification.pad(cut, defaultAlignment: ">", renderer)
        case "d", "i", "u", "x", "X", "o":
            var integer = value.index
            if case .double(let number) = value, "diu".unicodeScalars.contains(type) { integer = try renderer.integer(truncating: number) }
            if case .undefined(let undefined) = value { throw undefined.failure }
            guard let integer else { throw Failure.type("%\(type) format: a number is required, not \(value.typeName)") }
            let radix = type == "o" ? 8 : type == "x" || type == "X" ? 16 : 10
            return try specification.layOut(integer, radix: radix, isUppercase: type == "X", renderer)
        case "f", "F":
            if case .undefined(let undefined) = value { throw undefined.failure }
            guard let number = renderer.double(value) else { throw Failure.type("must be real number, not \(value.typeName)") }
            return try specification.layOut(number, renderer)
        case "c":
            if let text = value.text, text.unicodeScalars.count == 1 { return try specification.pad(text, defaultAlignment: ">", renderer) }
            guard let integer = value.index else { throw Failure.type("%c requires int or char") }
            guard let code = UInt32(exactly: integer), let character = Unicode.Scalar(code) else {
                throw Failure.value("%c arg not in range(0x110000)")
            }
            return try specification.pad(String(character), defaultAlignment: ">", renderer)
        case "e", "E", "g", "G": throw Failure.unsupported("the conversion %\(type) is not supported")
        default: throw Failure.value("unsupported format character '\(type)'")
        }
    }

    private mutating func namedArgument() throws -> Value {
        guard case .dict(let entries) = value else { throw Failure.type("format requires a mapping") }
        var depth = 1
        var name = String.UnicodeScalarView()
        while true {
            let scalar = try next()
            if scalar == "(" { depth += 1 }
            if scalar == ")" { depth -= 1 }
            if depth == 0 { break }
            name.append(scalar)
        }
        usedMembers = true
        guard let member = entries.storage[.string(String(name))] else { throw Failure.value("the format names a missing key") }
        return member
    }

    private mutating func number(_ scalar: inout Unicode.Scalar) throws -> Int? {
        guard ("0"..."9").contains(scalar) else { return nil }
        var value = 0
        while ("0"..."9").contains(scalar) {
            value = value * 10 + Int(scalar.value - 48)
            guard value <= 1_000_000 else { throw Failure.limit("a width or precision in a format is too big") }
            scalar = try next()
        }
        return value
    }
}
