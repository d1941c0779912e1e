/// The methods of Python's `str`.
extension Renderer {
    func callTextMethod(_ name: String, _ text: String, _ arguments: CallArguments) throws -> Value {
        try charge(textByteCount: text.utf8.count)
        switch name {
        case "upper", "lower", "capitalize", "title", "swapcase", "casefold":
            try arguments.expectNone(name)
            return try paid(try changedCase(text, name))
        case "strip", "lstrip", "rstrip":
            let set = try optionalText(try arguments.bind(name, ["chars"], keywords: false)[0], name)
            return try paid(text.stripped(set, left: name != "rstrip", right: name != "lstrip"))
        case "split", "rsplit": return try split(text, name, arguments)
        case "splitlines":
            let keeps = try arguments.bind(name, ["keepends"])[0]
            if let keeps, keeps.index == nil { throw Failure.type("'\(keeps.typeName)' object cannot be interpreted as an integer") }
            return try paidList(text.splitLines(keepingEnds: keeps?.isTruthy ?? false).map { .string($0) })
        case "partition", "rpartition": return try partition(text, name, arguments)
        case "startswith", "endswith": return .bool(try matchesEnd(text, name, arguments))
        case "find", "rfind", "index", "rindex": return try find(text, name, arguments)
        case "count": return try countMatches(text, arguments)
        case "replace":
            let values = try arguments.bind(name, ["old", "new", "count"], required: 2, keywords: false)
            let (old, new) = (try requiredText(values[0], name), try requiredText(values[1], name))
            return try replace(text, old, new, values[2])
        case "join":
            let values = try elements(of: try arguments.bind(name, ["iterable"], required: 1, keywords: false)[0] ?? .null)
            return try paid(try joined(values.map { try requiredText($0, name) }, separator: text))
        case "removeprefix", "removesuffix":
            let affix = try requiredText(try arguments.bind(name, ["affix"], required: 1, keywords: false)[0], name)
            if name == "removeprefix" {
                return .string(text.startsWith(affix) ? String(utf8Bytes: Array(text.utf8.dropFirst(affix.utf8.count))) : text)
            }
            return .string(text.endsWith(affix) ? String(utf8Bytes: Array(text.utf8.dropLast(affix.utf8.count))) : text)
        case "center", "ljust", "rjust", "zfill": return try pad(text, name, arguments)
        case "expandtabs": return try expandTabs(text, arguments)
        case "format": return try paid(try braceFormatted(text, arguments))
        case "encode", "maketrans", "translate", "format_map":
            throw Failure.unsupported("the method '\(name)' of a text is not supported")
        default:
            try arguments.expectNone(name)
            return .bool(try classify(text, name))
        }
    }

    // MARK: Arguments

    func requiredText(_ value: Value?, _ function: String) throws -> String {
        guard let value, let text = value.text else { throw Failure.type("\(function)() argument must be str, not \(value?.typeName ?? "nothing")") }
        return text
    }

    private func optionalText(_ value: Value?, _ function: String) throws -> String? {
        guard let value, !value.isNull else { return nil }
        return try requiredText(value, function)
    }

    private func requiredIndex(_ value: Value?, _ fallback: Int) throws -> Int {
        guard let value else { return fallback }
        guard let index = value.index else { throw Failure.type("'\(value.typeName)' object cannot be interpreted as an integer") }
        return index
    }

    // MARK: Case and classes

    func changedCase(_ text: String, _ name: String) throws -> String {
        switch name {
        case "upper": return text.pythonUppercased
        case "lower": return text.pythonLowercased
        case "capitalize": return text.pythonCapitalized
        case "title": return text.pythonTitled
        case "swapcase": return text.pythonSwapcased
        default:
            guard text.utf8.allSatisfy({ $0 < 0x80 }) else { throw Failure.unsupported("casefold beyond ASCII is not supported") }
            return text.pythonLowercased
        }
    }

    private func classify(_ text: String, _ name: String) throws -> Bool {
        let scalars = text.unicodeScalars
        func all(_ test: (Unicode.Scalar) -> Bool) -> Bool { !scalars.isEmpty && scalars.allSatisfy(test) }
        switch name {
        case "isalnum": return all(\.isPythonAlphanumeric)
        case "isalpha": return all(\.isPythonAlphabetic)
        case "isascii": return scalars.allSatisfy(\.isASCII)
        case "isdecimal": return all(\.isPythonDecimal)
        case "isdigit": return all(\.isPythonDigit)
        case "isnumeric": return all(\.isPythonNumeric)
        case "isspace": return all(\.isPythonWhitespace)
        case "isprintable": return scalars.allSatisfy(\.isPythonPrintable)
        case "islower": return text.pythonHasOnlyCase(lower: true)
        case "isupper": return text.pythonHasOnlyCase(lower: false)
        case "istitle": return text.pythonIsTitle
        case "isidentifier":
            guard let first = scalars.first, first == "_" || first.properties.isXIDStart else { return false }
            return scalars.dropFirst().allSatisfy { $0.properties.isXIDContinue }
        default: throw Failure.unsupported("the method '\(name)' of a text is not supported")
        }
    }

    // MARK: Splitting

    private func split(_ text: String, _ name: String, _ arguments: CallArguments) throws -> Value {
        let values = try arguments.bind(name, ["sep", "maxsplit"])
        let limit = try requiredIndex(values[1], -1)
        let count = limit < 0 ? Int.max : limit
        let pieces: [String]
        if let separator = try optionalText(values[0], name) {
            guard !separator.isEmpty else { throw Failure.value("empty separator") }
            pieces = text.split(by: separator, limit: count, fromEnd: name == "rsplit")
        } else {
            pieces = text.splitAtWhitespace(limit: count, fromEnd: name == "rsplit")
        }
        return try paidList(pieces.map { .string($0) })
    }

    private func partition(_ text: String, _ name: String, _ arguments: CallArguments) throws -> Value {
        let separator = try requiredText(try arguments.bind(name, ["sep"], required: 1, keywords: false)[0], name)
        guard !separator.isEmpty else { throw Failure.value("empty separator") }
        let pieces = text.split(by: separator, limit: 1, fromEnd: name == "rpartition")
        let parts = pieces.count == 2 ? [pieces[0], separator, pieces[1]] : name == "partition" ? [text, "", ""] : ["", "", text]
        return try .tuple(parts.map { .string($0) })
    }

    // MARK: Searching

    /// The part of `text` that a search looks at, with the number of code points before it; nil where `start` lies behind the end.
    private func searched(_ text: String, _ start: Value?, _ stop: Value?) throws -> (text: String, offset: Int)? {
        if (start?.isNull ?? true) && (stop?.isNull ?? true) { return (text, 0) }
        let scalars = Array(text.unicodeScalars)
        let range = try searchRange(start, stop, count: scalars.count)
        if let first = start?.index, first > scalars.count { return nil }
        if range.isEmpty, let bounds = try? Self.indices(scalars.count, start ?? .null, stop ?? .null, .null), bounds.stop < bounds.start {
            return nil
        }
        return (String(scalars: scalars[range]), range.lowerBound)
    }

    private func find(_ text: String, _ name: String, _ arguments: CallArguments) throws -> Value {
        let values = try arguments.bind(name, ["sub", "start", "end"], required: 1, keywords: false)
        let needle = Array(try requiredText(values[0], name).utf8)
        if let part = try searched(text, values[1], values[2]) {
            let bytes = Array(part.text.utf8)
            let match = name.utf8.first == UInt8(ascii: "r") ? String.lastMatch(of: needle, in: bytes) : String.firstMatch(of: needle, in: bytes)
            if let match { return .int(part.offset + String(utf8Bytes: bytes[..<match]).scalarCount) }
        }
        if name.hasSuffix("index") { throw Failure.value("substring not found") }
        return .int(-1)
    }

    private func countMatches(_ text: String, _ arguments: CallArguments) throws -> Value {
        let values = try arguments.bind("count", ["sub", "start", "end"], required: 1, keywords: false)
        let needle = try requiredText(values[0], "count")
        guard let part = try searched(text, values[1], values[2]) else { return .int(0) }
        if needle.isEmpty { return .int(part.text.scalarCount + 1) }
        return .int(String.matches(of: Array(needle.utf8), in: Array(part.text.utf8)).count)
    }

    private func matchesEnd(_ text: String, _ name: String, _ arguments: CallArguments) throws -> Bool {
        let values = try arguments.bind(name, ["affix", "start", "end"], required: 1, keywords: false)
        let affixes: [Value] = if case .tuple(let items)? = values[0] { items.elements } else { [values[0] ?? .null] }
        let part = try searched(text, values[1], values[2])
        for affix in affixes {
            let affix = try requiredText(affix, name)
            guard let part else { continue }
            if name == "startswith" ? part.text.startsWith(affix) : part.text.endsWith(affix) { return true }
        }
        return false
    }

    // MARK: Replacing and padding

    func replace(_ text: String, _ old: String, _ new: String, _ limit: Value?) throws -> Value {
        let limit = try requiredIndex(limit, -1)
        let count = limit < 0 ? Int.max : limit
        // The result is paid for before it is made: every match may grow.
        let growth = new.utf8.count - old.utf8.count
        if growth > 0 {
            let matches = old.isEmpty ? text.scalarCount + 1 : String.matches(of: Array(old.utf8), in: Array(text.utf8), limit: count).count
            let grown = min(matches, count).multipliedReportingOverflow(by: growth)
            try charge(textByteCount: grown.overflow ? .max : grown.partialValue)
        }
        return try paid(text.replacing(old, with: new, limit: count))
    }

    func joined(_ texts: [String], separator: String) throws -> String {
        try charge((texts.count * (separator.utf8.count / 16 + 1)))
        return texts.joined(separator: separator)
    }

    private func pad(_ text: String, _ name: String, _ arguments: CallArguments) throws -> Value {
        let values = try arguments.bind(name, name == "zfill" ? ["width"] : ["width", "fillchar"], required: 1, keywords: false)
        let width = try requiredIndex(values[0], 0)
        var fill: Unicode.Scalar = name == "zfill" ? "0" : " "
        if name != "zfill", let value = values[1] {
            let scalars = try requiredText(value, name).unicodeScalars
            guard scalars.count == 1, let only = scalars.first else { throw Failure.type("the fill character must be exactly one character long") }
            fill = only
        }
        return try paid(try padded(text, to: width, with: fill, name))
    }

    func padded(_ text: String, to width: Int, with fill: Unicode.Scalar, _ name: String) throws -> String {
        let missing = width.subtractingReportingOverflow(text.scalarCount)
        guard !missing.overflow, missing.partialValue > 0 else { return text }
        let count = missing.partialValue
        try charge(textByteCount: count)
        func filling(_ count: Int) -> String { String(repeating: String(fill), count: count) }
        switch name {
        case "ljust": return text + filling(count)
        case "rjust": return filling(count) + text
        case "center":
            let left = count / 2 + (count & width & 1)
            return filling(left) + text + filling(count - left)
        default:
            let hasSign = text.utf8.first == UInt8(ascii: "-") || text.utf8.first == UInt8(ascii: "+")
            return hasSign
                ? String(utf8Bytes: Array(text.utf8.prefix(1))) + filling(count) + String(utf8Bytes: Array(text.utf8.dropFirst()))
                : filling(count) + text
        }
    }

    private func expandTabs(_ text: String, _ arguments: CallArguments) throws -> Value {
        let size = try requiredIndex(try arguments.bind("expandtabs", ["tabsize"])[0], 8)
        var result = ""
        var column = 0
        for scalar in text.unicodeScalars {
            if scalar == "\t" {
                guard size > 0 else { continue }
                let count = size - column % size
                try charge(textByteCount: count)
                result += String(repeating: " ", count: count)
                column += count
            } else {
                result.unicodeScalars.append(scalar)
                column = scalar == "\n" || scalar == "\r" ? 0 : column + 1
            }
        }
        return try paid(result)
    }
}
