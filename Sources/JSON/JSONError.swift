/// Why a JSON text was refused, and where.
public struct JSONError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kind of fault. New kinds may be added without breaking a caller.
    public struct Code: Sendable, Hashable {
        enum Kind: Sendable { case syntax, type, depth, range, duplicateKey, encoding, truncated }
        let kind: Kind

        /// The text breaks the JSON grammar.
        public static let syntax = Code(kind: .syntax)
        /// The text ends in the middle of a value.
        public static let truncated = Code(kind: .truncated)
        /// The value is valid but of another type than the one asked for.
        public static let type = Code(kind: .type)
        /// Arrays and objects are nested deeper than the reader allows.
        public static let depth = Code(kind: .depth)
        /// A number does not fit the type asked for.
        public static let range = Code(kind: .range)
        /// A key stands twice in an object whose reader forbids that.
        public static let duplicateKey = Code(kind: .duplicateKey)
        /// A string is not valid UTF-8 or holds a lone surrogate.
        public static let encoding = Code(kind: .encoding)
    }

    public let code: Code
    /// Byte offset from the start of the text.
    public let offset: Int
    public let message: String

    public init(_ code: Code, at offset: Int, _ message: String) {
        self.code = code
        self.offset = offset
        self.message = message
    }

    public var description: String { "JSON, byte \(offset): \(message)" }
}
