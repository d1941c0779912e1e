/// Why a model could not be found, read or fetched.
public struct ModelHubError: Error, Sendable, CustomStringConvertible {
    /// The kind of fault. New kinds may be added without breaking a caller.
    public struct Code: Sendable, Hashable {
        enum Kind: Sendable {
            case notFound, invalidReference, invalidFile, unsupported, offline, noDownload, unauthorized, forbidden, server, network,
                integrity
            case redirect, cache, cancelled
        }
        let kind: Kind

        /// No folder, no cached model, no file or no repository of that name.
        public static let notFound = Code(kind: .notFound)
        /// The name is neither a path nor `owner/name`, or a file name leads out of the folder.
        public static let invalidReference = Code(kind: .invalidReference)
        /// A file of the model is broken or holds a value that cannot be.
        public static let invalidFile = Code(kind: .invalidFile)
        /// A file asks for something that Apus does not do.
        public static let unsupported = Code(kind: .unsupported)
        /// The network was needed while `HF_HUB_OFFLINE` forbids it.
        public static let offline = Code(kind: .offline)
        /// This build has no HTTP client.
        public static let noDownload = Code(kind: .noDownload)
        /// The hub wants a token, or does not accept the one it got.
        public static let unauthorized = Code(kind: .unauthorized)
        /// The hub knows the token and still refuses: a gated model, most often.
        public static let forbidden = Code(kind: .forbidden)
        /// The hub answered with something that is no answer.
        public static let server = Code(kind: .server)
        /// The connection could not be made, broke or stalled, after all retries.
        public static let network = Code(kind: .network)
        /// What arrived is not what was announced: size or checksum differ.
        public static let integrity = Code(kind: .integrity)
        /// A redirect was refused: to plain http, in a circle, or to no address.
        public static let redirect = Code(kind: .redirect)
        /// The cache folder cannot be read or written.
        public static let cache = Code(kind: .cache)
        /// The task was cancelled; what has arrived is kept for the next attempt.
        public static let cancelled = Code(kind: .cancelled)
    }

    public let code: Code
    public let message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }
}
