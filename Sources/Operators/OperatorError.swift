public import CUDA
public import Tensors

/// Why an operator refused its arguments, or could not run.
///
/// Arguments are checked in the order device, element type, layout, rank, sizes, scalars, on the CPU and the GPU alike, before anything is
/// computed or put into a stream.
public struct OperatorError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kind of fault. New kinds may be added without breaking a caller.
    public struct Code: Sendable, Hashable {
        enum Kind: Sendable {
            case device, dataType, layout, shape, argument, missingScale, scale, overflow, stale, unavailable, cuda, file
        }
        let kind: Kind

        /// A tensor lies elsewhere than the operator runs.
        public static let device = Code(kind: .device)
        /// A tensor's element type is not one that the operator takes: ``OperatorError/supportedTypes`` lists those.
        public static let dataType = Code(kind: .dataType)
        /// A tensor's elements do not lie as the operator needs them.
        public static let layout = Code(kind: .layout)
        /// A tensor's rank or sizes do not fit the operator or the other tensors.
        public static let shape = Code(kind: .shape)
        /// A number or a name is out of its range.
        public static let argument = Code(kind: .argument)
        /// Codes of 8 bits came without their scale.
        public static let missingScale = Code(kind: .missingScale)
        /// A scale is not positive and finite.
        public static let scale = Code(kind: .scale)
        /// Values do not fit the 8-bit format at any scale that was tried: see ``OperatorError/overflow``.
        public static let overflow = Code(kind: .overflow)
        /// Weights changed behind what was derived from them.
        public static let stale = Code(kind: .stale)
        /// There is no kernel for this on the path that was asked for.
        public static let unavailable = Code(kind: .unavailable)
        /// The driver or the compiler failed: see ``OperatorError/cuda``.
        public static let cuda = Code(kind: .cuda)
        /// Weights could not be read.
        public static let file = Code(kind: .file)
    }

    /// What a value did not fit, and what was tried.
    public struct Overflow: Sendable, Equatable {
        /// The largest magnitude among the values.
        public let maximum: Float
        /// The last scale that was tried.
        public let scale: Float
        public let attempts: Int

        public init(maximum: Float, scale: Float, attempts: Int) {
            self.maximum = maximum
            self.scale = scale
            self.attempts = attempts
        }
    }

    public let code: Code
    /// The operator, such as "rmsNormRoPE".
    public let operation: String
    /// The argument at fault, as the operator calls it; nil where the fault is in none.
    public let tensor: String?
    public let expected: String?
    public let actual: String?
    /// For ``Code/dataType``: what the operator takes there.
    public let supportedTypes: [DType]
    /// For ``Code/overflow``.
    public let overflow: Overflow?
    /// For ``Code/cuda``.
    public let cuda: CUDAError?
    /// One line for the person who can act on it.
    public let message: String

    public var description: String { message }

    init(
        _ code: Code, in operation: String, tensor: String? = nil, expected: String? = nil, actual: String? = nil, supportedTypes: [DType] = [],
        overflow: Overflow? = nil, cuda: CUDAError? = nil, _ reason: String
    ) {
        self.code = code
        self.operation = operation
        self.tensor = tensor
        self.expected = expected
        self.actual = actual
        self.supportedTypes = supportedTypes
        self.overflow = overflow
        self.cuda = cuda
        message = "\(operation): \(reason)"
    }
}

extension OperatorError {
    /// A number or a name that is out of its range.
    static func argument(_ operation: String, _ name: String, expected: String, actual: String) -> OperatorError {
        OperatorError(
            .argument, in: operation, tensor: name, expected: expected, actual: actual, "\(name) is \(actual), expected \(expected)")
    }

    static func shape(_ operation: String, _ name: String, expected: String, actual: [Int]) -> OperatorError {
        OperatorError(
            .shape, in: operation, tensor: name, expected: expected, actual: "\(actual)", "\(name) has the shape \(actual), expected \(expected)"
        )
    }

    static func unavailable(_ operation: String, _ reason: String) -> OperatorError {
        OperatorError(.unavailable, in: operation, reason)
    }

    /// The error of the driver or the compiler, in the words of this module.
    static func cuda(_ operation: String, _ error: CUDAError) -> OperatorError {
        OperatorError(.cuda, in: operation, cuda: error, error.message)
    }

    /// Runs work of the module below.
    static func wrap<Value: ~Copyable>(_ operation: String, _ work: () throws(CUDAError) -> Value) throws(OperatorError) -> Value {
        do {
            return try work()
        } catch {
            throw .cuda(operation, error)
        }
    }

    static func wrapFile<Value>(_ operation: String, _ work: () throws(TensorError) -> Value) throws(OperatorError) -> Value {
        do {
            return try work()
        } catch {
            throw OperatorError(.file, in: operation, error.description)
        }
    }
}
