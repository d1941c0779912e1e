public import CUDA
public import Tensors

/// Where operators run: a GPU, the stream that they go into, and the kernels that were compiled for it so far.
///
/// Operators are its methods. Each checks its arguments, compiles its kernel when a shape is new (tenths of a second; milliseconds from the cache
/// on disk), puts the work into the stream and returns: none waits for the GPU unless its comment says so. A tensor of another stream
/// must be ready, or its stream joined by an event. Safe to use from many threads; the order in the stream is that of the calls.
public final class OperatorContext: Sendable {
    public let context: Context
    public let stream: Stream
    /// Whether a kernel may start while the one ahead of it in the stream still runs (compute capability 9.0): less than a microsecond a launch.
    /// Norms then read their weights before the kernel ahead has ended, so weights must not be computed by work that is still in the stream.
    public let overlapsLaunches: Bool
    /// Tuned choices, which the operators use in place of their own; empty until ``loadTuning(from:)`` or someone else fills it.
    public let tuning = TuningTable()
    package let compiler: Compiler
    package let architecture: Architecture

    let norms = LoadedKernels<NormVariant>()
    let quantizers = LoadedKernels<QuantizeVariant>()
    let hopperProducts = LoadedKernels<HopperGEMMVariant>()
    let genericProducts = LoadedKernels<GenericGEMMVariant>()
    let floatProducts = LoadedKernels<FloatGEMMVariant>()
    let hopperAttentions = LoadedKernels<HopperAttentionVariant>()
    let genericAttentions = LoadedKernels<GenericAttentionVariant>()
    let rowKernels = LoadedKernels<RowVariant>()
    let attentionPlans = AttentionPlanCache()

    /// - Parameters:
    ///   - stream: Where the work goes; a new stream when nil.
    ///   - overlapsLaunches: See ``overlapsLaunches``.
    public convenience init(_ context: Context, stream: Stream? = nil, overlapsLaunches: Bool = false) throws(OperatorError) {
        let compiler = try OperatorError.wrap("operators") { () throws(CUDAError) in try Compiler.shared() }
        try self.init(context, stream: stream, overlapsLaunches: overlapsLaunches, compiler: compiler)
    }

    /// The GPU at a position.
    public convenience init(ordinal: Int = 0) throws(OperatorError) {
        let context = try OperatorError.wrap("operators") { () throws(CUDAError) in try Context(Device(ordinal: ordinal)) }
        try self.init(context)
    }

    package init(
        _ context: Context, stream: Stream? = nil, overlapsLaunches: Bool = false, compiler: Compiler
    ) throws(OperatorError) {
        self.overlapsLaunches = overlapsLaunches
        self.context = context
        self.stream = try OperatorError.wrap("operators") { () throws(CUDAError) in
            if let stream { return stream }
            return try Stream(context)
        }
        self.compiler = compiler
        architecture = Architecture(context.device.computeCapability)
    }

    public var device: Device { context.device }

    var place: TensorPlace { .device(device.ordinal) }

    /// Copies a tensor to the GPU.
    public func upload(_ tensor: HostTensor) throws(OperatorError) -> DeviceTensor { try DeviceTensor(tensor, on: stream) }

    /// Copies a tensor to the host and waits for it.
    public func download(_ tensor: DeviceTensor) throws(OperatorError) -> HostTensor { try tensor.download(on: stream) }

    /// A new tensor with undefined contents.
    public func tensor(_ dtype: DType, _ shape: [Int]) throws(OperatorError) -> DeviceTensor {
        try DeviceTensor(uninitialized: dtype, shape: shape, on: stream)
    }

    /// Waits until all work that was put into the stream has ended, and throws what went wrong in it.
    public func synchronize() throws(OperatorError) {
        try OperatorError.wrap("synchronize") { () throws(CUDAError) in try stream.synchronize() }
    }

    /// The result's memory: what the caller gave, checked, or new memory. It is contiguous, or laid out as the model is.
    func output(
        _ operation: String, _ given: DeviceTensor?, _ dtype: DType, _ shape: [Int], like model: DeviceTensor? = nil
    ) throws(OperatorError) -> DeviceTensor {
        guard let given else { return try tensor(dtype, shape) }
        let check = ArgumentCheck(operation, on: place)
        let operand = Operand("output", given)
        try check.places(operand)
        try check.type(operand, [dtype])
        if given.strides != model?.strides { try check.contiguous(operand) }
        try check.shape(operand, shape, "the result")
        given.storage.markWritten()
        return given
    }

    package func isHopper() -> Bool { device.computeCapability.major == 9 }

    /// Throws when Hopper's kernels were asked for on another GPU.
    func check(_ path: KernelPath, _ operation: String) throws(OperatorError) {
        guard path == .hopper, !isHopper() else { return }
        throw .unavailable(operation, "the Hopper path needs compute capability 9.0; \(device) has \(device.computeCapability)")
    }
}
