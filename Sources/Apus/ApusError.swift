/// Why Apus could not do what was asked; faults of files, tokenizers and models come as their own modules' errors.
public struct ApusError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kind of fault. New kinds may be added without breaking a caller.
    public struct Code: Sendable, Hashable {
        enum Kind: Sendable {
            case noDevice, unsupportedModel, missingFile, invalidInput, inputTooLong, contextExceeded, unknownPrompt, invalidParameter,
                nonFiniteLogits
        }
        let kind: Kind

        /// The device asked for is not there or not supported by this build.
        public static let noDevice = Code(kind: .noDevice)
        /// The model cannot do this: a decoder asked for vectors it was not made for, an encoder asked for text.
        public static let unsupportedModel = Code(kind: .unsupportedModel)
        /// The model folder lacks a file that this needs.
        public static let missingFile = Code(kind: .missingFile)
        public static let invalidInput = Code(kind: .invalidInput)
        /// A text has more tokens than the model takes.
        public static let inputTooLong = Code(kind: .inputTooLong)
        /// A conversation does not fit the model's context even without its older turns.
        public static let contextExceeded = Code(kind: .contextExceeded)
        /// The model folder has no prompt of that name.
        public static let unknownPrompt = Code(kind: .unknownPrompt)
        /// A sampling parameter is outside its range.
        public static let invalidParameter = Code(kind: .invalidParameter)
        /// The logits are such that no token can be chosen.
        public static let nonFiniteLogits = Code(kind: .nonFiniteLogits)
    }

    public let code: Code
    public let message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }
}
