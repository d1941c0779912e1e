import CCUDA

/// A GPU made ready for work: its primary context, which every part of this process shares, other libraries included.
///
/// The context is released when the last object that uses it is gone; streams, events, buffers, modules and graphs keep it alive. All of them may be
/// used from any thread: each call makes the context the current one of the thread that it runs on, and leaves it so.
///
/// Cost: the first one on a GPU takes 100 ms and more, and a few hundred megabytes of its memory.
public final class Context: Sendable {
    public let device: Device

    // Safe to share: the handle never changes, and libcuda is thread-safe.
    nonisolated(unsafe) let handle: apus_context
    var driver: Driver { device.driver }
    var table: UnsafeMutablePointer<apus_driver> { device.driver.table }

    /// Readies a GPU. Throws ``CUDAError/Code/deviceTooOld`` below compute capability 8.0.
    public init(_ device: Device) throws(CUDAError) {
        try device.requireSupport()
        self.device = device
        let driver = device.driver
        var context: apus_context?
        try driver.check(driver.table.pointee.retainPrimaryContext(&context, device.handle), "cuDevicePrimaryCtxRetain", "\(device)")
        guard let context else { throw driver.error(999, "cuDevicePrimaryCtxRetain", "\(device)") }
        handle = context
        do throws(CUDAError) {
            try activate()
            try keepFreedMemory()
        } catch {
            _ = driver.table.pointee.releasePrimaryContext(device.handle)
            throw error
        }
    }

    deinit { _ = driver.table.pointee.releasePrimaryContext(device.handle) }

    /// Makes this context the current one of the calling thread.
    @inline(__always)
    func activate() throws(CUDAError) {
        try driver.check(table.pointee.setCurrentContext(handle), "cuCtxSetCurrent")
    }

    /// Waits for all work on this GPU that this process has given it.
    public func synchronize() throws(CUDAError) {
        try activate()
        try driver.check(table.pointee.synchronizeContext(), "cuCtxSynchronize")
    }

    /// The memory that is free, and all that the GPU has, in bytes, other processes counted in. Memory freed in stream order may still count as used:
    /// the pool keeps it for the next allocation.
    public func memory() throws(CUDAError) -> (free: Int, total: Int) {
        try activate()
        var free = 0
        var total = 0
        try driver.check(table.pointee.memoryInformation(&free, &total), "cuMemGetInfo")
        return (free, total)
    }

    /// Gives memory that the pool keeps back to the system. Work that uses it must have ended.
    public func trimMemory() throws(CUDAError) {
        guard device.supportsMemoryPools else { return }
        try activate()
        try driver.check(table.pointee.trimPool(try memoryPool(), 0), "cuMemPoolTrimTo")
    }

    /// Makes all memory that was freed in stream order available to every allocation: waits for the GPU, then trims the pool.
    func reclaimMemory() {
        try? synchronize()
        try? trimMemory()
    }

    /// Freed memory stays with the process: giving it back at every synchronisation, the pool's default, makes allocations slow.
    private func keepFreedMemory() throws(CUDAError) {
        guard device.supportsMemoryPools else { return }
        let releaseThreshold: UInt32 = 4  // CU_MEMPOOL_ATTR_RELEASE_THRESHOLD
        var threshold = UInt64.max
        try driver.check(table.pointee.setPoolAttribute(try memoryPool(), releaseThreshold, &threshold), "cuMemPoolSetAttribute")
    }

    private func memoryPool() throws(CUDAError) -> apus_memory_pool {
        var pool: apus_memory_pool?
        try driver.check(table.pointee.deviceMemoryPool(&pool, device.handle), "cuDeviceGetDefaultMemPool")
        guard let pool else { throw driver.error(999, "cuDeviceGetDefaultMemPool") }
        return pool
    }

    /// The error for an allocation that failed, with what was needed and what was free.
    func allocationError(_ status: Int32, _ call: StaticString, byteCount: Int) -> CUDAError {
        guard DriverStatus(status).isOutOfMemory else {
            return driver.error(status, call, "allocating \(ByteCount(byteCount)) on \(device)")
        }
        var message = "\(device) cannot give \(ByteCount(byteCount)) of memory"
        if let memory = try? memory() { message += ": \(ByteCount(memory.free)) of \(ByteCount(memory.total)) are free" }
        message += " (\(call), CUDA_ERROR_OUT_OF_MEMORY). \(DriverStatus(status).advice ?? "")"
        return CUDAError(.outOfMemory, message, call: call.description, status: Int(status))
    }
}

/// A number of bytes as people read it: in bytes below 1 KiB, in binary units above.
struct ByteCount: CustomStringConvertible {
    let value: Int

    init(_ value: Int) { self.value = value }

    var description: String {
        var scaled = Double(value)
        var unit = "bytes"
        for next in ["KiB", "MiB", "GiB", "TiB"] where scaled >= 1024 {
            scaled /= 1024
            unit = next
        }
        if unit == "bytes" { return "\(value) bytes" }
        let tenths = Int((scaled * 10).rounded())
        return "\(tenths / 10).\(tenths % 10) \(unit)"
    }
}
