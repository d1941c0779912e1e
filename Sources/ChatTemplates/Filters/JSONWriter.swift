import OrderedCollections

/// The filter `tojson` of chat templates: Python's `json.dumps`.
struct JSONWriter {
    private let renderer: Renderer
    private let escapesNonASCII: Bool
    /// What one level is indented by; nil for a single line.
    private let indentation: String?
    private let itemSeparator: String
    private let keySeparator: String
    private let sortsKeys: Bool
    private(set) var text = ""

    init(_ renderer: Renderer, escapesNonASCII: Bool, indent: Value, separators: Value, sortsKeys: Bool) throws {
        self.renderer = renderer
        self.escapesNonASCII = escapesNonASCII
        self.sortsKeys = sortsKeys
        switch indent {
        case .null: indentation = nil
        case .string(let text): indentation = text
        default:
            guard let count = indent.index else { throw Failure.type("can't multiply sequence by non-int of type '\(indent.typeName)'") }
            try renderer.charge(textByteCount: max(0, count))
            indentation = String(repeating: " ", count: max(0, count))
        }
        if separators.isNull {
            itemSeparator = indentation == nil ? ", " : ","
            keySeparator = ": "
        } else {
            let parts = try renderer.elements(of: separators)
            guard parts.count == 2, let item = parts[0].text, let key = parts[1].text else { throw Failure.value("separators must be two texts") }
            (itemSeparator, keySeparator) = (item, key)
        }
    }

    mutating func write(_ value: Value, level: Int) throws {
        try renderer.charge(1)
        switch value {
        case .null: text += "null"
        case .bool(let value): text += value ? "true" : "false"
        case .int(let value): text += String(value)
        case .double(let value): text += Self.number(value)
        case .string(let string), .markup(let string): try write(string)
        case .list(let items), .tuple(let items): try write(items.elements, level: level)
        case .dict(let entries): try write(entries, level: level)
        case .undefined: throw Failure.type("Object of type Undefined is not JSON serializable")
        default: throw Failure.type("Object of type \(value.typeName) is not JSON serializable")
        }
    }

    private static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Infinity" : "Infinity" }
        return value.pythonRepresentation
    }

    private mutating func breakLine(level: Int) throws {
        guard let indentation else { return }
        try renderer.charge(textByteCount: indentation.utf8.count * level)
        text += "\n"
        for _ in 0..<level { text += indentation }
    }

    private mutating func write(_ elements: [Value], level: Int) throws {
        guard !elements.isEmpty else {
            text += "[]"
            return
        }
        text += "["
        for (index, element) in elements.enumerated() {
            if index > 0 { text += itemSeparator }
            try breakLine(level: level + 1)
            try write(element, level: level + 1)
        }
        try breakLine(level: level)
        text += "]"
    }

    private mutating func write(_ entries: Entries, level: Int) throws {
        guard !entries.storage.isEmpty else {
            text += "{}"
            return
        }
        var keys = Array(entries.storage.keys)
        if sortsKeys { keys = try renderer.sorted(keys, by: { try $0.isLess($1.value, $2.value) }) }
        text += "{"
        for (index, key) in keys.enumerated() {
            if index > 0 { text += itemSeparator }
            try breakLine(level: level + 1)
            try write(Self.spelling(of: key.value))
            text += keySeparator
            try write(entries.storage[key] ?? .null, level: level + 1)
        }
        try breakLine(level: level)
        text += "}"
    }

    private static func spelling(of key: Value) throws -> String {
        switch key {
        case .string(let text), .markup(let text): text
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .int(let value): String(value)
        case .double(let value): number(value)
        default: throw Failure.type("keys must be str, int, float, bool or None, not \(key.typeName)")
        }
    }

    private mutating func write(_ string: String) throws {
        try renderer.charge(textByteCount: string.utf8.count)
        text += "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case "\u{08}": text += "\\b"
            case "\u{0C}": text += "\\f"
            default:
                if scalar.value < 0x20 || (escapesNonASCII && scalar.value > 0x7E) {
                    for unit in UTF16.encode(scalar) ?? UTF16.encodedReplacementCharacter {
                        let digits = String(unit, radix: 16)
                        text += "\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
                    }
                } else {
                    text.unicodeScalars.append(scalar)
                }
            }
        }
        text += "\""
    }
}
