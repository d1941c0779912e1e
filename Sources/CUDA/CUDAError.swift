/// Why work on the GPU, or the way to it, failed, and what to do about it.
///
/// An error after ``isFatalToContext`` work stays: every later call on that GPU in this process fails with the same status.
public struct CUDAError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kind of fault. New kinds may be added without breaking a caller.
    public struct Code: Sendable, Hashable {
        enum Kind: Sendable {
            case libraryMissing, driverTooOld, noDevice, deviceTooOld, deviceName, compilerMissing, compilation, kernelSource, outOfMemory
            case launchRefused, kernelFault, invalidArgument, call
        }
        let kind: Kind

        /// A library of NVIDIA's is not on this machine, or is not the library it claims to be.
        public static let libraryMissing = Code(kind: .libraryMissing)
        /// The driver is older than this program needs, or lacks what was asked for.
        public static let driverTooOld = Code(kind: .driverTooOld)
        /// The driver is there but shows no GPU, or not the one asked for.
        public static let noDevice = Code(kind: .noDevice)
        /// The GPU is older than compute capability 8.0.
        public static let deviceTooOld = Code(kind: .deviceTooOld)
        /// A device name is none of auto, cpu, cuda and cuda:N.
        public static let deviceName = Code(kind: .deviceName)
        /// NVRTC, which compiles the kernels, was not found or cannot compile for this GPU.
        public static let compilerMissing = Code(kind: .compilerMissing)
        /// A kernel does not compile.
        public static let compilation = Code(kind: .compilation)
        /// A kernel's source or a header is not there, or a constant cannot be written down.
        public static let kernelSource = Code(kind: .kernelSource)
        /// The GPU, or the host for pinned memory, has too little memory left.
        public static let outOfMemory = Code(kind: .outOfMemory)
        /// A launch was refused before it reached the GPU: it does not fit the device or the kernel.
        public static let launchRefused = Code(kind: .launchRefused)
        /// A kernel crashed, and took the context with it.
        public static let kernelFault = Code(kind: .kernelFault)
        /// A size, an offset or an alignment given to this module is wrong.
        public static let invalidArgument = Code(kind: .invalidArgument)
        /// Any other call that failed.
        public static let call = Code(kind: .call)
    }

    public let code: Code
    /// One line for the person who can act on it.
    public let message: String
    /// The function of NVIDIA's that failed, such as "cuMemAlloc", where one did.
    public let call: String?
    /// The status that it returned.
    public let status: Int?
    /// More than fits a line: the whole log of a compilation, the places where a library was looked for.
    public let detail: String?

    public init(_ code: Code, _ message: String, call: String? = nil, status: Int? = nil, detail: String? = nil) {
        self.code = code
        self.message = message
        self.call = call
        self.status = status
        self.detail = detail
    }

    public var description: String { message }

    /// True when no further work can be done on this GPU by this process.
    public var isFatalToContext: Bool { code == .kernelFault }

    /// The same error with words ahead of its message that say what was being done.
    package func during(_ work: String) -> CUDAError {
        CUDAError(code, "\(work): \(message)", call: call, status: status, detail: detail)
    }
}
