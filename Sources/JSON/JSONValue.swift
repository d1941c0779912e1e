public import OrderedCollections

/// A JSON value that keeps the order of object keys and the difference between `1` and `1.0`.
///
/// Chat templates print objects back in the order in which they were written, which is why Foundation's readers do not serve here.
public enum JSONValue: Sendable, Hashable {
    case null
    case bool(Bool)
    case integer(Int)
    case double(Double)
    case string(String)
    case array([JSONValue])
    case object(JSONObject)
}

/// An object in source order; a key that stands twice keeps its first place and its last value, as Python's `json` has it.
public typealias JSONObject = OrderedDictionary<String, JSONValue>

extension JSONValue {
    /// Reads one JSON text (RFC 8259), which must be UTF-8 with nothing but white space around the value.
    public init(parsing bytes: [UInt8], maximumDepth: Int = JSONReader.defaultMaximumDepth) throws(JSONError) {
        var reader = JSONReader(bytes, maximumDepth: maximumDepth)
        self = try reader.readValue()
        try reader.finish()
    }

    public init(parsing text: String) throws(JSONError) {
        try self.init(parsing: Array(text.utf8))
    }

    public var isNull: Bool { self == .null }

    public var boolValue: Bool? {
        if case .bool(let value) = self { value } else { nil }
    }

    /// The integer, also of a whole double such as `1e3`.
    public var integerValue: Int? {
        switch self {
        case .integer(let value): value
        case .double(let value): Int(exactly: value)
        default: nil
        }
    }

    public var doubleValue: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .double(let value): value
        default: nil
        }
    }

    public var stringValue: String? {
        if case .string(let value) = self { value } else { nil }
    }

    public var arrayValue: [JSONValue]? {
        if case .array(let value) = self { value } else { nil }
    }

    public var objectValue: JSONObject? {
        if case .object(let value) = self { value } else { nil }
    }

    /// The member named `key`, or nil where this is no object or has none. A member that is `null` is returned as `.null`.
    public subscript(key: String) -> JSONValue? { objectValue?[key] }

    /// What the value is, for messages: "object", "string" and so on.
    public var typeName: String {
        switch self {
        case .null: "null"
        case .bool: "boolean"
        case .integer, .double: "number"
        case .string: "string"
        case .array: "array"
        case .object: "object"
        }
    }
}
