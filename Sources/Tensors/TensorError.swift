/// Why a tensor, or a file of tensors, was refused.
public struct TensorError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kind of fault. New kinds may be added without breaking a caller.
    public struct Code: Sendable, Hashable {
        enum Kind: Sendable {
            case notFound, notRegularFile, unreadable, unwritable, truncated, trailingBytes, headerLength, header, duplicateName, dataType
            case shape, offsets, overlap, gap, metadata, missingTensor, unexpectedTensor, index, unsupported, incomplete
        }
        let kind: Kind

        /// There is no file or folder at the path.
        public static let notFound = Code(kind: .notFound)
        /// The path names a folder, a pipe or a device where a file is needed, or a file where a folder is needed.
        public static let notRegularFile = Code(kind: .notRegularFile)
        /// The operating system refused to read.
        public static let unreadable = Code(kind: .unreadable)
        /// The operating system refused to write.
        public static let unwritable = Code(kind: .unwritable)
        /// The file ends before what its header promises.
        public static let truncated = Code(kind: .truncated)
        /// The file goes on behind what its header promises.
        public static let trailingBytes = Code(kind: .trailingBytes)
        /// The length of the header is none, beyond the bound or beyond the file.
        public static let headerLength = Code(kind: .headerLength)
        /// The header is not what its format prescribes.
        public static let header = Code(kind: .header)
        /// A name stands twice.
        public static let duplicateName = Code(kind: .duplicateName)
        /// The data type is unknown, or is another one than the call needs.
        public static let dataType = Code(kind: .dataType)
        /// A shape has a bad dimension, does not fit an `Int`, or does not fit the data.
        public static let shape = Code(kind: .shape)
        /// The offsets of a tensor are malformed or do not match its type and shape.
        public static let offsets = Code(kind: .offsets)
        /// Two tensors share bytes.
        public static let overlap = Code(kind: .overlap)
        /// Bytes between two tensors belong to none.
        public static let gap = Code(kind: .gap)
        /// The metadata are not an object of strings.
        public static let metadata = Code(kind: .metadata)
        /// A tensor that was asked for, or that the index names, is not there.
        public static let missingTensor = Code(kind: .missingTensor)
        /// A shard holds a tensor that the index does not place there.
        public static let unexpectedTensor = Code(kind: .unexpectedTensor)
        /// The index of a sharded checkpoint is malformed.
        public static let index = Code(kind: .index)
        /// The file is valid but uses something that this reader does not read.
        public static let unsupported = Code(kind: .unsupported)
        /// A writer was finished before all of its data had come, or got more than it was promised.
        public static let incomplete = Code(kind: .incomplete)
    }

    public let code: Code
    /// The file that the fault is in; nil where the tensor never was in a file.
    public let file: String?
    public let message: String

    public init(_ code: Code, file: String? = nil, _ message: String) {
        self.code = code
        self.file = file
        self.message = message
    }

    public var description: String {
        if let file { "\(Self.show(file, limit: 1000)): \(message)" } else { message }
    }
}

extension TensorError {
    /// Text out of a file, made fit for a message: shortened, and with its control characters escaped.
    static func show(_ text: String, limit: Int = 120) -> String {
        var shown = ""
        var count = 0
        for scalar in text.unicodeScalars {
            guard count < limit else { return shown + "..." }
            shown += scalar.value < 0x20 || scalar.value == 0x7F ? scalar.escaped(asASCII: true) : String(scalar)
            count += 1
        }
        return shown
    }

    static func quote(_ text: String) -> String { "'\(show(text))'" }
}
