/// Why a template was refused or could not be rendered, and on which of its lines.
public struct ChatTemplateError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kind of fault. New kinds may be added without breaking a caller.
    public struct Code: Sendable, Hashable {
        enum Kind: Sendable { case syntax, unsupported, undefined, type, value, integerRange, security, raised, limit, context }
        let kind: Kind

        /// The text is not a valid Jinja template.
        public static let syntax = Code(kind: .syntax)
        /// Jinja can do this, this engine cannot; the text it would have to guess is never printed.
        public static let unsupported = Code(kind: .unsupported)
        /// Something was asked of a value that is not defined.
        public static let undefined = Code(kind: .undefined)
        /// An operation does not exist for a value of this type, as Python's `TypeError`.
        public static let type = Code(kind: .type)
        /// The type is right and the value is not, as Python's `ValueError` or `ZeroDivisionError`.
        public static let value = Code(kind: .value)
        /// A whole number left the 64 bits that this engine has and Python has not.
        public static let integerRange = Code(kind: .integerRange)
        /// The template reached for what the sandbox forbids, such as changing a list.
        public static let security = Code(kind: .security)
        /// The template itself refused its input with `raise_exception`; the message is the template's own.
        public static let raised = Code(kind: .raised)
        /// The template exceeded one of ``TemplateLimits``.
        public static let limit = Code(kind: .limit)
        /// The caller's messages or variables do not fit the call.
        public static let context = Code(kind: .context)
    }

    public let code: Code
    /// The line of the template, counted from 1; nil where the fault lies in what the caller passed.
    public let line: Int?
    public let message: String

    public init(_ code: Code, line: Int?, _ message: String) {
        self.code = code
        self.line = line
        self.message = message
    }

    public var description: String {
        if let line { "chat template, line \(line): \(message)" } else { "chat template: \(message)" }
    }
}

/// A fault inside the engine, before the line is known.
struct Failure: Error {
    let code: ChatTemplateError.Code
    let message: String

    init(_ code: ChatTemplateError.Code, _ message: String) {
        self.code = code
        self.message = message
    }

    static func type(_ message: String) -> Failure { Failure(.type, message) }
    static func value(_ message: String) -> Failure { Failure(.value, message) }
    static func unsupported(_ message: String) -> Failure { Failure(.unsupported, message) }
    static func limit(_ message: String) -> Failure { Failure(.limit, message) }

    static let integerRange = Failure(.integerRange, "the result does not fit 64 bits")
}
