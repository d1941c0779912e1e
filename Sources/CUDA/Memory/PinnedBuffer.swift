import CCUDA

/// Memory of the host that cannot be paged out: copies to and from it run at full speed beside other work, and the GPU can reach it itself.
///
/// The value owns it alone. It must outlive every copy and kernel that uses it: freeing it waits for none of them.
public struct PinnedBuffer: ~Copyable, Sendable {
    public let byteCount: Int
    public let context: Context
    /// The same memory as the GPU sees it. Reads and writes of kernels cross the bus; right for words that a running kernel and the host exchange.
    public let region: DeviceRegion

    // Safe to share: the pointer never changes. Who writes while another reads is for the owner to arrange, as for any shared memory.
    nonisolated(unsafe) private let pointer: UnsafeMutableRawPointer?

    /// - Parameter writeCombined: Faster for the GPU to read, very slow for the host to read: for uploads only.
    public init(byteCount: Int, in context: Context, writeCombined: Bool = false) throws(CUDAError) {
        guard byteCount >= 0 else { throw CUDAError(.invalidArgument, "a buffer cannot have \(byteCount) bytes") }
        let memory = byteCount > 0 ? try Self.allocate(byteCount, context, writeCombined) : (pointer: nil, address: 0)
        self.byteCount = byteCount
        self.context = context
        pointer = memory.pointer
        region = DeviceRegion(address: DeviceAddress(bits: memory.address), byteCount: byteCount)
    }

    private static func allocate(
        _ byteCount: Int, _ context: Context, _ writeCombined: Bool
    ) throws(CUDAError) -> (pointer: UnsafeMutableRawPointer?, address: UInt64) {
        try context.activate()
        let flags: UInt32 = writeCombined ? 7 : 3  // CU_MEMHOSTALLOC_PORTABLE, DEVICEMAP, WRITECOMBINED
        var memory: UnsafeMutableRawPointer?
        let status = context.table.pointee.allocateHost(&memory, byteCount, flags)
        guard status == 0, let memory else {
            let size = ByteCount(byteCount)
            guard status == 0 || DriverStatus(status).isOutOfMemory else {
                throw context.driver.error(status, "cuMemHostAlloc", "pinning \(size) of host memory")
            }
            throw CUDAError(
                .outOfMemory,
                "the host cannot pin \(size) of memory (cuMemHostAlloc, CUDA_ERROR_OUT_OF_MEMORY). Free memory, or raise the limit of locked memory (ulimit -l, or the container's).",
                call: "cuMemHostAlloc", status: 2)
        }
        var address: apus_device_pointer = 0
        let mapped = context.table.pointee.hostDevicePointer(&address, memory, 0)
        guard mapped == 0 else {
            _ = context.table.pointee.releaseHost(memory)
            throw context.driver.error(mapped, "cuMemHostGetDevicePointer")
        }
        return (memory, address)
    }

    deinit {
        guard let pointer else { return }
        try? context.activate()
        _ = context.table.pointee.releaseHost(pointer)
    }

    /// The bytes, to read. The pointer is valid inside the closure only.
    public func withUnsafeBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(UnsafeRawBufferPointer(start: pointer, count: byteCount))
    }

    /// The bytes, to write. The pointer is valid inside the closure only.
    public func withUnsafeMutableBytes<Result, Failure: Error>(
        _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(UnsafeMutableRawBufferPointer(start: pointer, count: byteCount))
    }

    /// Copies values into the buffer.
    public func store<Value: BitwiseCopyable>(_ values: [Value], at offset: Int = 0) throws(CUDAError) {
        let length = try byteCountOf(values.count, of: Value.self)
        try check(offset, length)
        guard let pointer, length > 0 else { return }
        values.withUnsafeBytes { bytes in
            if let base = bytes.baseAddress { (pointer + offset).copyMemory(from: base, byteCount: length) }
        }
    }

    /// Copies values out of the buffer.
    public func load<Value: BitwiseCopyable>(_ type: Value.Type, count: Int, at offset: Int = 0) throws(CUDAError) -> [Value] {
        let length = try byteCountOf(count, of: type)
        try check(offset, length)
        guard let pointer, length > 0 else { return [] }
        return [Value](unsafeUninitializedCapacity: count) { buffer, initialized in
            UnsafeMutableRawBufferPointer(buffer).copyMemory(from: UnsafeRawBufferPointer(start: pointer + offset, count: length))
            initialized = count
        }
    }

    // MARK: Words exchanged with a running kernel

    /// Reads a word that a running kernel may write; what the kernel wrote before it with release order (or a system-wide fence) is then visible too.
    public func loadAcquiring(at offset: Int) throws(CUDAError) -> UInt32 {
        apus_load_acquiring_32(try word(at: offset, byteCount: 4))
    }

    /// Writes a word that a running kernel may read; what the host wrote before it is then visible to a kernel that reads it with acquire order.
    public func storeReleasing(_ value: UInt32, at offset: Int) throws(CUDAError) {
        apus_store_releasing_32(try word(at: offset, byteCount: 4), value)
    }

    /// ``loadAcquiring(at:)`` for 64 bits.
    public func loadAcquiring64(at offset: Int) throws(CUDAError) -> UInt64 {
        apus_load_acquiring_64(try word(at: offset, byteCount: 8))
    }

    /// ``storeReleasing(_:at:)`` for 64 bits.
    public func storeReleasing64(_ value: UInt64, at offset: Int) throws(CUDAError) {
        apus_store_releasing_64(try word(at: offset, byteCount: 8), value)
    }

    private func word(at offset: Int, byteCount length: Int) throws(CUDAError) -> UnsafeMutableRawPointer {
        try check(offset, length)
        guard let pointer, offset % length == 0 else {
            throw CUDAError(.invalidArgument, "a word of \(length) bytes cannot lie at byte \(offset) of a buffer")
        }
        return pointer + offset
    }

    /// The address of a part of the buffer, which a copy of the stream fills or reads.
    func pointer(at offset: Int, byteCount length: Int) throws(CUDAError) -> UnsafeMutableRawPointer? {
        try check(offset, length)
        return pointer.map { $0 + offset }
    }

    private func check(_ offset: Int, _ length: Int) throws(CUDAError) {
        _ = try region.slice(at: offset, byteCount: length)
    }
}

/// The bytes of a number of values, checked.
func byteCountOf<Value: BitwiseCopyable>(_ count: Int, of type: Value.Type) throws(CUDAError) -> Int {
    let product = count.multipliedReportingOverflow(by: MemoryLayout<Value>.stride)
    guard count >= 0, !product.overflow else { throw CUDAError(.invalidArgument, "\(count) values of \(type) are no valid size") }
    return product.partialValue
}
