/// `format.format(...)`, as the sandbox has it: fields by position or name, members and items of them, `!s` and `!r`, and the usual
/// specifications for text, integers and fixed-point numbers.
extension Renderer {
    func braceFormatted(_ format: String, _ arguments: CallArguments) throws -> String {
        let scalars = Array(format.unicodeScalars)
        var result = String.UnicodeScalarView()
        var index = 0
        var automatic = 0
        var usesNumbers = false
        while index < scalars.count {
            let scalar = scalars[index]
            index += 1
            guard scalar == "{" || scalar == "}" else {
                result.append(scalar)
                continue
            }
            if index < scalars.count, scalars[index] == scalar {
                result.append(scalar)
                index += 1
                continue
            }
            guard scalar == "{" else { throw Failure.value("Single '}' encountered in format string") }
            guard let end = scalars[index...].firstIndex(of: "}") else { throw Failure.value("expected '}' before end of string") }
            let field = String(scalars: scalars[index..<end])
            if field.utf8.contains(UInt8(ascii: "{")) { throw Failure.unsupported("a field inside a field of a format is not supported") }
            index = end + 1
            let text = try formatField(field, arguments, &automatic, &usesNumbers)
            try charge(textByteCount: text.utf8.count)
            result.append(text: text)
        }
        return String(result)
    }

    private func formatField(_ field: String, _ arguments: CallArguments, _ automatic: inout Int, _ usesNumbers: inout Bool) throws -> String {
        let parts = field.split(by: ":", limit: 1)
        let names = parts[0].split(by: "!", limit: 1)
        let path = Array(names[0].unicodeScalars)
        var end = path.firstIndex { $0 == "." || $0 == "[" } ?? path.count
        let first = String(scalars: path[..<end])
        var value: Value
        if first.isEmpty || Int(first) != nil {
            let isAutomatic = first.isEmpty
            if isAutomatic ? usesNumbers : automatic > 0 {
                throw Failure.value("cannot switch between automatic field numbering and manual field specification")
            }
            let position = isAutomatic ? automatic : Int(first) ?? 0
            if isAutomatic { automatic += 1 } else { usesNumbers = true }
            guard position >= 0, position < arguments.positional.count else {
                throw Failure.value("Replacement index \(position) out of range for positional args tuple")
            }
            value = arguments.positional[position]
        } else {
            guard let named = arguments.named.first(where: { $0.name == first }) else { throw Failure.value("the format names a missing argument") }
            value = named.value
        }
        while end < path.count {
            if path[end] == "." {
                let next = path[(end + 1)...].firstIndex { $0 == "." || $0 == "[" } ?? path.count
                guard next > end + 1 else { throw Failure.value("Empty attribute in format string") }
                value = try attribute(String(scalars: path[(end + 1)..<next]), of: value)
                end = next
            } else {
                guard path[end] == "[", let close = path[end...].firstIndex(of: "]"), close > end + 1 else {
                    throw Failure.value("malformed field in format string")
                }
                let key = String(scalars: path[(end + 1)..<close])
                value = try item(
                    key.utf8.allSatisfy { $0 >= 0x30 && $0 <= 0x39 } ? Int(key).map { .int($0) } ?? .string(key) : .string(key), of: value)
                end = close + 1
            }
        }
        if names.count == 2 {
            switch names[1] {
            case "s": value = .string(try string(of: value))
            case "r": value = .string(try representation(of: value))
            default: throw Failure.unsupported("the conversion !\(names[1]) is not supported")
            }
        }
        return try format(value, parts.count == 2 ? parts[1] : "")
    }

    /// `format(value, specification)`.
    private func format(_ value: Value, _ specification: String) throws -> String {
        if specification.isEmpty { return try string(of: value) }
        let (layout, type) = try Self.parse(specification)
        switch value {
        case .string(let text), .markup(let text):
            guard type == nil || type == "s" else { throw Failure.value("Unknown format code for object of type 'str'") }
            guard layout.sign == "-", !layout.groupsThousands, layout.alignment != "=", !layout.fillsWithZeros else {
                throw Failure.unsupported("this format of a text is not supported")
            }
            let cut = layout.precision.map { String(scalars: text.unicodeScalars.prefix($0)) } ?? text
            return try layout.pad(cut, defaultAlignment: "<", self)
        case .int(let integer):
            switch type {
            case nil, "d":
                guard layout.precision == nil else { throw Failure.value("Precision not allowed in integer format specifier") }
                return try layout.layOut(integer, radix: 10, isUppercase: false, self)
            case "x", "X", "o", "b":
                guard layout.precision == nil else { throw Failure.value("Precision not allowed in integer format specifier") }
                guard !layout.groupsThousands else { throw Failure.value("Cannot specify ',' with '\(type ?? "x")'.") }
                return try layout.layOut(integer, radix: type == "o" ? 8 : type == "b" ? 2 : 16, isUppercase: type == "X", self)
            case "f", "F": return try layout.layOut(Double(integer), self)
            default: throw Failure.unsupported("the format '\(specification)' is not supported")
            }
        case .double(let number) where type == "f" || type == "F": return try layout.layOut(number, self)
        default: throw Failure.unsupported("the format '\(specification)' of a \(value.typeName) is not supported")
        }
    }

    private static func parse(_ specification: String) throws -> (NumberLayout, Unicode.Scalar?) {
        var scalars = Array(specification.unicodeScalars)[...]
        var layout = NumberLayout()
        let alignments: Set<Unicode.Scalar> = ["<", ">", "^", "="]
        if scalars.count >= 2, alignments.contains(scalars[scalars.startIndex + 1]) {
            layout.fill = scalars.removeFirst()
            layout.alignment = scalars.removeFirst()
        } else if let first = scalars.first, alignments.contains(first) {
            layout.alignment = scalars.removeFirst()
        }
        if let sign = scalars.first, sign == "+" || sign == "-" || sign == " " { layout.sign = scalars.removeFirst() }
        if scalars.first == "0" {
            layout.fillsWithZeros = true
            scalars.removeFirst()
        }
        func number() throws -> Int? {
            var value: Int?
            while let digit = scalars.first, ("0"..."9").contains(digit) {
                value = (value ?? 0) * 10 + Int(digit.value - 48)
                guard value ?? 0 <= 1_000_000 else { throw Failure.limit("a width or precision in a format is too big") }
                scalars.removeFirst()
            }
            return value
        }
        layout.width = try number()
        if scalars.first == "," {
            layout.groupsThousands = true
            scalars.removeFirst()
        }
        if scalars.first == "." {
            scalars.removeFirst()
            guard let precision = try number() else { throw Failure.value("Format specifier missing precision") }
            layout.precision = precision
        }
        let type = scalars.popFirst()
        guard scalars.isEmpty else { throw Failure.unsupported("the format '\(specification)' is not supported") }
        return (layout, type)
    }
}
