import CCUDA

/// Memory on the GPU that this value owns alone.
///
/// Made on a stream, it may be used by work put into that stream from then on, and is freed behind the work that the stream holds when the value
/// goes; other streams must be joined by events first. Made in a context, it may be used at once by every stream, and freeing it waits for all
/// work of the GPU: right for weights, which live as long as the program. A buffer of 0 bytes is valid and has the address 0. Contents start
/// undefined.
public struct DeviceBuffer: ~Copyable, Sendable {
    private enum Owner: Sendable {
        case stream(Stream)
        case context(Context)
    }

    public let address: DeviceAddress
    public let byteCount: Int
    private let owner: Owner

    /// Allocates in stream order, from the GPU's pool: microseconds once the pool is warm.
    public init(byteCount: Int, on stream: Stream) throws(CUDAError) {
        guard stream.context.device.supportsMemoryPools else {
            try self.init(byteCount: byteCount, in: stream.context)
            return
        }
        try Self.check(byteCount)
        let context = stream.context
        try context.activate()
        var pointer: apus_device_pointer = 0
        if byteCount > 0 {
            var status = context.table.pointee.allocateOrdered(&pointer, byteCount, stream.handle)
            if DriverStatus(status).isOutOfMemory, !(try stream.isCapturing()) {
                context.reclaimMemory()
                status = context.table.pointee.allocateOrdered(&pointer, byteCount, stream.handle)
                // The pool keeps what it gathered on the way to a failure.
                if DriverStatus(status).isOutOfMemory { try context.trimMemory() }
            }
            guard status == 0 else { throw context.allocationError(status, "cuMemAllocAsync", byteCount: byteCount) }
        }
        self.init(address: DeviceAddress(bits: pointer), byteCount: byteCount, owner: .stream(stream))
    }

    /// Allocates at once, for all streams: some 100 microseconds.
    public init(byteCount: Int, in context: Context) throws(CUDAError) {
        try Self.check(byteCount)
        try context.activate()
        var pointer: apus_device_pointer = 0
        if byteCount > 0 {
            var status = context.table.pointee.allocate(&pointer, byteCount)
            if DriverStatus(status).isOutOfMemory {
                context.reclaimMemory()
                status = context.table.pointee.allocate(&pointer, byteCount)
            }
            guard status == 0 else { throw context.allocationError(status, "cuMemAlloc", byteCount: byteCount) }
        }
        self.init(address: DeviceAddress(bits: pointer), byteCount: byteCount, owner: .context(context))
    }

    private init(address: DeviceAddress, byteCount: Int, owner: Owner) {
        self.address = address
        self.byteCount = byteCount
        self.owner = owner
    }

    private static func check(_ byteCount: Int) throws(CUDAError) {
        guard byteCount >= 0 else { throw CUDAError(.invalidArgument, "a buffer cannot have \(byteCount) bytes") }
    }

    /// All of the buffer, as a view that does not keep it alive.
    public var region: DeviceRegion { DeviceRegion(address: address, byteCount: byteCount) }

    public var context: Context {
        switch owner {
        case .stream(let stream): stream.context
        case .context(let context): context
        }
    }

    // A status is dropped here: a deinit cannot throw, and a context that is lost says so at the next call.
    deinit {
        guard byteCount > 0 else { return }
        try? context.activate()
        switch owner {
        case .stream(let stream): _ = stream.table.pointee.releaseOrdered(address.bits, stream.handle)
        case .context(let context): _ = context.table.pointee.release(address.bits)
        }
    }
}
