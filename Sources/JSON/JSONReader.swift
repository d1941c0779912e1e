import OrderedCollections

/// A pull reader over one JSON text: it hands out one value at a time and never builds what the caller skips.
///
/// Made for tokenizer files with hundreds of thousands of entries and for headers from strangers: depth is bounded, nothing traps, memory is that
/// of what the caller keeps. Every error carries the byte offset.
///
///     try reader.beginObject()
///     while let key = try reader.nextKey() { ... read or skip one value ... }
///
///     try reader.beginArray()
///     while try reader.nextElement() { ... read or skip one value ... }
public struct JSONReader: Sendable {
    public static let defaultMaximumDepth = 128

    public enum Kind: Sendable { case null, bool, number, string, array, object }

    let bytes: [UInt8]
    /// Byte offset of the next unread byte.
    public private(set) var offset = 0
    let maximumDepth: Int
    /// One entry per open container: true until its first member has been asked for.
    private var isFirstMember: [Bool] = []

    public init(_ bytes: [UInt8], maximumDepth: Int = JSONReader.defaultMaximumDepth) {
        self.bytes = bytes
        self.maximumDepth = maximumDepth
        // A byte order mark is not JSON, but Windows editors write it and Python's utf-8-sig reads it.
        if bytes.count >= 3, bytes[0] == 0xEF, bytes[1] == 0xBB, bytes[2] == 0xBF { offset = 3 }
    }

    // MARK: Structure

    /// The kind of the next value, which stays unread.
    public mutating func peekKind() throws(JSONError) -> Kind {
        switch try peekByte() {
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "\""): return .string
        case UInt8(ascii: "t"), UInt8(ascii: "f"): return .bool
        case UInt8(ascii: "n"): return .null
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
        default: throw JSONError(.syntax, at: offset, "expected a value, found \(Self.show(bytes[offset]))")
        }
    }

    public mutating func beginObject() throws(JSONError) { try open(UInt8(ascii: "{"), "an object") }

    public mutating func beginArray() throws(JSONError) { try open(UInt8(ascii: "["), "an array") }

    /// The next key of the open object, or nil once it is closed. The value behind the key must be read or skipped before the next call.
    public mutating func nextKey() throws(JSONError) -> String? {
        guard try nextMember(closing: UInt8(ascii: "}")) else { return nil }
        guard try peekByte() == UInt8(ascii: "\"") else {
            throw JSONError(.syntax, at: offset, "expected a key in quotes, found \(Self.show(bytes[offset]))")
        }
        let keyOffset = offset
        let key = try readString()
        try Self.checkHashingCost(of: key, at: keyOffset)
        try expectColon()
        return key
    }

    /// Like ``nextKey()``, but appends the key's UTF-8 bytes to `buffer`; false once the object is closed.
    public mutating func nextKey(appendingTo buffer: inout [UInt8]) throws(JSONError) -> Bool {
        guard try nextMember(closing: UInt8(ascii: "}")) else { return false }
        try readString(appendingTo: &buffer)
        try expectColon()
        return true
    }

    /// True when the open array has another element, which must then be read or skipped; false once it is closed.
    public mutating func nextElement() throws(JSONError) -> Bool {
        try nextMember(closing: UInt8(ascii: "]"))
    }

    /// Checks that nothing but white space follows.
    public mutating func finish() throws(JSONError) {
        skipWhitespace()
        guard offset == bytes.count else {
            throw JSONError(.syntax, at: offset, "expected the end of the text, found \(Self.show(bytes[offset]))")
        }
    }

    // MARK: Values

    public mutating func readNull() throws(JSONError) { try readLiteral("null") }

    public mutating func readBool() throws(JSONError) -> Bool {
        switch try peekKind() {
        case .bool:
            let value = bytes[offset] == UInt8(ascii: "t")
            try readLiteral(value ? "true" : "false")
            return value
        case let kind: throw typeError("a boolean", kind)
        }
    }

    public mutating func readInteger() throws(JSONError) -> Int {
        let start = offset
        switch try readNumber() {
        case .integer(let value): return value
        case .double(let value):
            guard let whole = Int(exactly: value) else {
                throw JSONError(.range, at: start, "expected an integer, found \(value)")
            }
            return whole
        }
    }

    public mutating func readDouble() throws(JSONError) -> Double {
        switch try readNumber() {
        case .integer(let value): Double(value)
        case .double(let value): value
        }
    }

    public mutating func readString() throws(JSONError) -> String {
        // The common case has no escape: the bytes between the quotes are the string.
        let start = try beginString()
        var end = start
        while end < bytes.count, bytes[end] != UInt8(ascii: "\""), bytes[end] != UInt8(ascii: "\\"), bytes[end] >= 0x20 { end += 1 }
        if end < bytes.count, bytes[end] == UInt8(ascii: "\"") {
            guard let string = String(validating: bytes[start..<end], as: UTF8.self) else {
                throw JSONError(.encoding, at: start, "the string is not valid UTF-8")
            }
            offset = end + 1
            return string
        }
        var buffer: [UInt8] = []
        try scanString(appendingTo: &buffer)
        guard let string = String(validating: buffer, as: UTF8.self) else {
            throw JSONError(.encoding, at: start, "the string is not valid UTF-8")
        }
        return string
    }

    /// Appends the string's decoded bytes to `buffer`. They are checked for escapes and control characters but not for valid UTF-8: the
    /// caller that keeps them as text must do that.
    public mutating func readString(appendingTo buffer: inout [UInt8]) throws(JSONError) {
        _ = try beginString()
        try scanString(appendingTo: &buffer)
    }

    /// Passes over one value of any kind, checking its grammar, without keeping it.
    public mutating func skipValue() throws(JSONError) {
        switch try peekKind() {
        case .null: try readNull()
        case .bool: _ = try readBool()
        case .number: _ = try readNumber()
        case .string:
            var ignored: [UInt8] = []
            try readString(appendingTo: &ignored)
        case .array:
            try beginArray()
            while try nextElement() { try skipValue() }
        case .object:
            try beginObject()
            var ignored: [UInt8] = []
            while try nextKey(appendingTo: &ignored) {
                ignored.removeAll(keepingCapacity: true)
                try skipValue()
            }
        }
    }

    public mutating func readValue() throws(JSONError) -> JSONValue {
        switch try peekKind() {
        case .null:
            try readNull()
            return .null
        case .bool: return .bool(try readBool())
        case .number:
            switch try readNumber() {
            case .integer(let value): return .integer(value)
            case .double(let value): return .double(value)
            }
        case .string: return .string(try readString())
        case .array:
            var elements: [JSONValue] = []
            try beginArray()
            while try nextElement() { elements.append(try readValue()) }
            return .array(elements)
        case .object:
            var members: JSONObject = [:]
            try beginObject()
            while let key = try nextKey() { members[key] = try readValue() }
            return .object(members)
        }
    }
}

// MARK: - Scanning

extension JSONReader {
    private enum Number { case integer(Int), double(Double) }

    private mutating func skipWhitespace() {
        while offset < bytes.count {
            switch bytes[offset] {
            case 0x20, 0x0A, 0x0D, 0x09: offset += 1
            default: return
            }
        }
    }

    private mutating func peekByte() throws(JSONError) -> UInt8 {
        skipWhitespace()
        guard offset < bytes.count else { throw JSONError(.truncated, at: offset, "the text ends where a value is expected") }
        return bytes[offset]
    }

    private mutating func open(_ bracket: UInt8, _ what: String) throws(JSONError) {
        guard try peekByte() == bracket else { throw typeError(what, try peekKind()) }
        guard isFirstMember.count < maximumDepth else {
            throw JSONError(.depth, at: offset, "nested deeper than \(maximumDepth) levels")
        }
        offset += 1
        isFirstMember.append(true)
    }

    private mutating func nextMember(closing bracket: UInt8) throws(JSONError) -> Bool {
        precondition(!isFirstMember.isEmpty, "no object or array is open")
        let byte = try peekByte()
        if byte == bracket {
            offset += 1
            isFirstMember.removeLast()
            return false
        }
        if isFirstMember[isFirstMember.count - 1] {
            isFirstMember[isFirstMember.count - 1] = false
            return true
        }
        guard byte == UInt8(ascii: ",") else {
            throw JSONError(.syntax, at: offset, "expected ',' or \(Self.show(bracket)), found \(Self.show(byte))")
        }
        offset += 1
        if try peekByte() == bracket { throw JSONError(.syntax, at: offset, "a comma stands before \(Self.show(bracket))") }
        return true
    }

    private mutating func expectColon() throws(JSONError) {
        guard try peekByte() == UInt8(ascii: ":") else {
            throw JSONError(.syntax, at: offset, "expected ':', found \(Self.show(bytes[offset]))")
        }
        offset += 1
    }

    private mutating func readLiteral(_ literal: StaticString) throws(JSONError) {
        _ = try peekByte()
        let count = literal.utf8CodeUnitCount
        let matches = literal.withUTF8Buffer { expected in
            bytes.count - offset >= count && bytes[offset..<offset + count].elementsEqual(expected)
        }
        guard matches else { throw JSONError(.syntax, at: offset, "expected \(literal)") }
        offset += count
    }

    private mutating func beginString() throws(JSONError) -> Int {
        guard try peekByte() == UInt8(ascii: "\"") else { throw typeError("a string", try peekKind()) }
        offset += 1
        return offset
    }

    /// Decodes from the byte behind the opening quote through the closing quote.
    private mutating func scanString(appendingTo buffer: inout [UInt8]) throws(JSONError) {
        while true {
            let runStart = offset
            while offset < bytes.count, bytes[offset] != UInt8(ascii: "\""), bytes[offset] != UInt8(ascii: "\\"), bytes[offset] >= 0x20 {
                offset += 1
            }
            buffer.append(contentsOf: bytes[runStart..<offset])
            guard offset < bytes.count else { throw JSONError(.truncated, at: offset, "the text ends inside a string") }
            switch bytes[offset] {
            case UInt8(ascii: "\""):
                offset += 1
                return
            case UInt8(ascii: "\\"):
                try scanEscape(appendingTo: &buffer)
            default:
                throw JSONError(.syntax, at: offset, "control character \(bytes[offset]) in a string must be escaped")
            }
        }
    }

    private mutating func scanEscape(appendingTo buffer: inout [UInt8]) throws(JSONError) {
        let start = offset
        guard offset + 1 < bytes.count else { throw JSONError(.truncated, at: offset, "the text ends inside a string") }
        let escape = bytes[offset + 1]
        offset += 2
        switch escape {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): buffer.append(escape)
        case UInt8(ascii: "b"): buffer.append(0x08)
        case UInt8(ascii: "f"): buffer.append(0x0C)
        case UInt8(ascii: "n"): buffer.append(0x0A)
        case UInt8(ascii: "r"): buffer.append(0x0D)
        case UInt8(ascii: "t"): buffer.append(0x09)
        case UInt8(ascii: "u"):
            var value = UInt32(try scanHexQuad())
            let isPairStart = (0xD800..<0xDC00).contains(value)
            if isPairStart, offset + 1 < bytes.count, bytes[offset] == UInt8(ascii: "\\"), bytes[offset + 1] == UInt8(ascii: "u") {
                offset += 2
                let low = UInt32(try scanHexQuad())
                if (0xDC00..<0xE000).contains(low) { value = 0x10000 + (value - 0xD800) << 10 + (low - 0xDC00) }
            }
            guard let scalar = Unicode.Scalar(value) else {
                throw JSONError(.encoding, at: start, "a lone surrogate is not a character")
            }
            buffer.append(contentsOf: UTF8.encode(scalar)!)
        default:
            throw JSONError(.syntax, at: start, "unknown escape \\\(Self.show(escape))")
        }
    }

    private mutating func scanHexQuad() throws(JSONError) -> UInt16 {
        guard bytes.count - offset >= 4 else { throw JSONError(.truncated, at: offset, "the text ends inside a \\u escape") }
        var value: UInt16 = 0
        for index in offset..<offset + 4 {
            let digit: UInt8
            switch bytes[index] {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = bytes[index] - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = bytes[index] - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = bytes[index] - UInt8(ascii: "A") + 10
            default: throw JSONError(.syntax, at: index, "expected four hexadecimal digits behind \\u")
            }
            value = value << 4 | UInt16(digit)
        }
        offset += 4
        return value
    }

    private mutating func readNumber() throws(JSONError) -> Number {
        let kind = try peekKind()
        guard kind == .number else { throw typeError("a number", kind) }
        let start = offset
        var index = offset
        func digits(_ index: inout Int) -> Int {
            let first = index
            while index < bytes.count, bytes[index] >= UInt8(ascii: "0"), bytes[index] <= UInt8(ascii: "9") { index += 1 }
            return index - first
        }
        if bytes[index] == UInt8(ascii: "-") { index += 1 }
        let integerStart = index
        let integerDigits = digits(&index)
        guard integerDigits > 0 else { throw JSONError(.syntax, at: start, "expected a digit in the number") }
        guard integerDigits == 1 || bytes[integerStart] != UInt8(ascii: "0") else {
            throw JSONError(.syntax, at: start, "a number must not start with 0")
        }
        var isInteger = true
        if index < bytes.count, bytes[index] == UInt8(ascii: ".") {
            isInteger = false
            index += 1
            guard digits(&index) > 0 else { throw JSONError(.syntax, at: start, "expected a digit behind the decimal point") }
        }
        if index < bytes.count, bytes[index] | 0x20 == UInt8(ascii: "e") {
            isInteger = false
            index += 1
            if index < bytes.count, bytes[index] == UInt8(ascii: "+") || bytes[index] == UInt8(ascii: "-") { index += 1 }
            guard digits(&index) > 0 else { throw JSONError(.syntax, at: start, "expected a digit in the exponent") }
        }
        offset = index
        if isInteger, index - integerStart <= 18 {
            var value = 0
            for byte in bytes[integerStart..<index] { value = value * 10 + Int(byte - UInt8(ascii: "0")) }
            return .integer(integerStart == start ? value : -value)
        }
        let text = String(decoding: bytes[start..<index], as: UTF8.self)
        if isInteger, let value = Int(text) { return .integer(value) }
        guard let value = Double(text) else { throw JSONError(.range, at: start, "the number does not fit a double") }
        return .double(value)
    }

    private func typeError(_ expected: String, _ found: Kind) -> JSONError {
        JSONError(.type, at: offset, "expected \(expected), found \(found)")
    }

    private static func show(_ byte: UInt8) -> String {
        byte >= 0x20 && byte < 0x7F ? "'\(Character(Unicode.Scalar(byte)))'" : "byte \(byte)"
    }
}
