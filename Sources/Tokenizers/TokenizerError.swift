/// Why a tokenizer file or configuration was refused, and which part of it.
public struct TokenizerError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kind of fault. New kinds may be added without breaking a caller.
    public struct Code: Sendable, Hashable {
        enum Kind: Sendable { case json, file, missing, invalid, unsupported, unknownToken, range, limit }
        let kind: Kind

        /// The text is not JSON, or a value has another JSON type than its place asks for.
        public static let json = Code(kind: .json)
        /// The file could not be read.
        public static let file = Code(kind: .file)
        /// A part that must be there is not.
        public static let missing = Code(kind: .missing)
        /// A part is of the right type but makes no sense.
        public static let invalid = Code(kind: .invalid)
        /// The file asks for something that this library does not do. It never does something else instead.
        public static let unsupported = Code(kind: .unsupported)
        /// A part names a token that the vocabulary does not have.
        public static let unknownToken = Code(kind: .unknownToken)
        /// A number, most often a token id, is outside its range.
        public static let range = Code(kind: .range)
        /// A part is larger than this library takes.
        public static let limit = Code(kind: .limit)
    }

    public let code: Code
    /// The part of the file, as a path: `pre_tokenizer.pretokenizers[1].type`. Empty for the file as a whole.
    public let path: String
    public let message: String

    public init(_ code: Code, at path: String, _ message: String) {
        self.code = code
        self.path = path
        self.message = message
    }

    public var description: String { path.isEmpty ? "tokenizer: \(message)" : "tokenizer: \(path): \(message)" }
}
