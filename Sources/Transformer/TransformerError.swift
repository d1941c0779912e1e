/// Why a model could not be described, loaded or run.
public struct TransformerError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kind of fault. New kinds may be added without breaking a caller.
    public struct Code: Sendable, Hashable {
        enum Kind: Sendable {
            case unsupportedModel, invalidSpec, missingTensor, unexpectedTensor, wrongShape, unsupportedType, invalidToken, contextExceeded,
                noHead, noThreads, nonFinite, busy
        }
        let kind: Kind

        /// The model's family or one of its traits is not supported.
        public static let unsupportedModel = Code(kind: .unsupportedModel)
        /// The sizes of the model contradict each other.
        public static let invalidSpec = Code(kind: .invalidSpec)
        /// The folder lacks a tensor that the configuration calls for.
        public static let missingTensor = Code(kind: .missingTensor)
        /// The folder holds a tensor that the configuration does not explain.
        public static let unexpectedTensor = Code(kind: .unexpectedTensor)
        public static let wrongShape = Code(kind: .wrongShape)
        public static let unsupportedType = Code(kind: .unsupportedType)
        /// A token id is negative or not below the vocabulary size.
        public static let invalidToken = Code(kind: .invalidToken)
        /// The sequence would grow past the model's last position.
        public static let contextExceeded = Code(kind: .contextExceeded)
        /// Logits were asked of a model without a vocabulary head.
        public static let noHead = Code(kind: .noHead)
        public static let noThreads = Code(kind: .noThreads)
        /// A result holds NaN or infinity.
        public static let nonFinite = Code(kind: .nonFinite)
        /// What takes a device's tokens asked the same device for others.
        public static let busy = Code(kind: .busy)
    }

    public let code: Code
    public let message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }
}
