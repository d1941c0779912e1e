/// A value as a key of an object: equal where Python's `==` and `hash` say so, thus `1`, `1.0` and `True` are one key.
enum Key: Hashable {
    case null
    case undefined
    case integer(Int)
    /// A double that is no whole number within 64 bits.
    case double(Double)
    case string(String)
    /// A boolean or whole double under its number, so that it can be shown as it was written.
    indirect case spelled(Key, as: Spelling)
    indirect case tuple([Key])

    enum Spelling { case bool, double, markup }

    init(_ value: Value) throws {
        switch value {
        case .null: self = .null
        case .undefined: self = .undefined
        case .bool(let value): self = .spelled(.integer(value ? 1 : 0), as: .bool)
        case .int(let value): self = .integer(value)
        case .double(let value):
            if let whole = Int(exactly: value) { self = .spelled(.integer(whole), as: .double) } else { self = .double(value) }
        case .string(let text): self = .string(text)
        case .markup(let text): self = .spelled(.string(text), as: .markup)
        case .tuple(let items): self = .tuple(try items.elements.map { try Key($0) })
        case .list, .dict: throw Failure.type("unhashable type: '\(value.typeName)'")
        default: throw Failure.unsupported("a \(value.typeName) as a key is not supported")
        }
    }

    var value: Value {
        switch self {
        case .null: return .null
        case .undefined: return .undefined(Undefined("the key is undefined"))
        case .integer(let value): return .int(value)
        case .double(let value): return .double(value)
        case .string(let text): return .string(text)
        case .spelled(.integer(let value), as: .bool): return .bool(value != 0)
        case .spelled(.integer(let value), as: .double): return .double(Double(value))
        case .spelled(.string(let text), as: .markup): return .markup(text)
        case .spelled(let key, as: _): return key.value
        case .tuple(let keys):
            // It was a tuple within the depth limit before it became a key.
            return (try? .tuple(keys.map(\.value))) ?? .null
        }
    }

    private var plain: Key {
        if case .spelled(let key, as: _) = self { key } else { self }
    }

    static func == (left: Key, right: Key) -> Bool {
        switch (left.plain, right.plain) {
        case (.null, .null), (.undefined, .undefined): true
        case (.integer(let left), .integer(let right)): left == right
        case (.double(let left), .double(let right)): left == right
        case (.string(let left), .string(let right)): left.isIdentical(to: right)
        case (.tuple(let left), .tuple(let right)): left == right
        default: false
        }
    }

    func hash(into hasher: inout Hasher) {
        switch plain {
        case .null: hasher.combine(1)
        case .undefined: hasher.combine(2)
        case .integer(let value): hasher.combine(value)
        case .double(let value): hasher.combine(value)
        case .string(let text):
            // By code points, as keys are compared; String's own hash would bring combining marks into order first, at quadratic cost.
            for byte in text.utf8 { hasher.combine(byte) }
        case .spelled: break
        case .tuple(let keys): hasher.combine(keys)
        }
    }
}
