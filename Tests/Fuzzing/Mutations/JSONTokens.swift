/// A rough cut of JSON text into tokens, for mutations. It takes any bytes: what is no JSON becomes tokens of some kind.
struct JSONTokens {
    enum Kind { case string, scalar, open, close, comma, colon }

    struct Token {
        let kind: Kind
        let range: Range<Int>
    }

    private(set) var tokens: [Token] = []

    init(_ bytes: [UInt8]) {
        var index = 0
        while index < bytes.count {
            let start = index
            index += 1
            let kind: Kind
            switch bytes[start] {
            case UInt8(ascii: "{"), UInt8(ascii: "["): kind = .open
            case UInt8(ascii: "}"), UInt8(ascii: "]"): kind = .close
            case UInt8(ascii: ","): kind = .comma
            case UInt8(ascii: ":"): kind = .colon
            case UInt8(ascii: " "), UInt8(ascii: "\n"), UInt8(ascii: "\t"), UInt8(ascii: "\r"): continue
            case UInt8(ascii: "\""):
                kind = .string
                while index < bytes.count, bytes[index] != UInt8(ascii: "\"") { index += bytes[index] == UInt8(ascii: "\\") ? 2 : 1 }
                index = min(index + 1, bytes.count)
            default:
                kind = .scalar
                while index < bytes.count, !Self.endsScalar(bytes[index]) { index += 1 }
            }
            tokens.append(Token(kind: kind, range: start..<index))
        }
    }

    private static func endsScalar(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "{"), UInt8(ascii: "}"), UInt8(ascii: "["), UInt8(ascii: "]"), UInt8(ascii: ","), UInt8(ascii: ":"), UInt8(ascii: "\""):
            true
        case UInt8(ascii: " "), UInt8(ascii: "\n"), UInt8(ascii: "\t"), UInt8(ascii: "\r"): true
        default: false
        }
    }

    /// Whether the token at `index` is the key of a member.
    func isKey(_ index: Int) -> Bool {
        tokens[index].kind == .string && index + 1 < tokens.count && tokens[index + 1].kind == .colon
    }

    /// Whether a value starts at `index`.
    func isValue(_ index: Int) -> Bool {
        switch tokens[index].kind {
        case .string: !isKey(index)
        case .scalar, .open: true
        case .close, .comma, .colon: false
        }
    }

    /// The bytes of the value that starts at the token `index`.
    func valueRange(_ index: Int) -> Range<Int> {
        var depth = 0
        for end in index..<tokens.count {
            if tokens[end].kind == .open { depth += 1 }
            if tokens[end].kind == .close { depth -= 1 }
            if depth <= 0 { return tokens[index].range.lowerBound..<tokens[end].range.upperBound }
        }
        return tokens[index].range
    }

    /// The bytes of the member whose key is the token `index`: key, colon and value.
    func memberRange(_ index: Int) -> Range<Int> {
        guard index + 2 < tokens.count else { return tokens[index].range }
        return tokens[index].range.lowerBound..<valueRange(index + 2).upperBound
    }
}
