import CCUDA
import Synchronization

/// A queue of work on one GPU: what is put into it runs in that order, beside what other streams hold.
///
/// A class and not a noncopyable value, because buffers that are freed in stream order keep their stream alive. It never synchronises with the
/// legacy default stream. Calls may come from any thread; the order is that of the calls. When the last reference goes, work that is still queued
/// runs to its end.
public final class Stream: Sendable {
    public let context: Context

    // Safe to share: the handle never changes, and libcuda is thread-safe.
    nonisolated(unsafe) let handle: apus_stream
    /// The kernel launched last, for the message about a crash that is only seen later.
    private let lastKernel = Mutex<String?>(nil)

    var driver: Driver { context.driver }
    var table: UnsafeMutablePointer<apus_driver> { context.driver.table }

    /// - Parameter priority: Lower numbers run first; the GPU clamps to what it has, often 0 to -5.
    public init(_ context: Context, priority: Int32 = 0) throws(CUDAError) {
        try context.activate()
        let nonBlocking: UInt32 = 1  // CU_STREAM_NON_BLOCKING
        var stream: apus_stream?
        try context.driver.check(context.table.pointee.createStream(&stream, nonBlocking, priority), "cuStreamCreateWithPriority")
        guard let stream else { throw context.driver.error(999, "cuStreamCreateWithPriority") }
        self.context = context
        handle = stream
    }

    deinit {
        try? context.activate()
        _ = table.pointee.destroyStream(handle)
    }

    /// Waits until all work put in so far has ended. Throws what went wrong in it. Blocks the thread: keep it off the cooperative pool.
    public func synchronize() throws(CUDAError) {
        try context.activate()
        try check(table.pointee.synchronizeStream(handle), "cuStreamSynchronize")
    }

    /// True when all work put in so far has ended. Does not wait; throws what went wrong in it.
    public func isIdle() throws(CUDAError) -> Bool {
        try context.activate()
        let status = table.pointee.queryStream(handle)
        if DriverStatus(status).isNotReady { return false }
        try check(status, "cuStreamQuery")
        return true
    }

    /// Lets work put in from now on wait until an event, of this stream or another one on the same GPU, has happened.
    public func wait(for event: Event) throws(CUDAError) {
        try context.activate()
        try check(table.pointee.waitForEvent(handle, event.handle, 0), "cuStreamWaitEvent")
    }

    /// Puts a mark into the stream.
    public func record(_ event: Event) throws(CUDAError) {
        try context.activate()
        try check(table.pointee.recordEvent(event.handle, handle), "cuEventRecord")
    }

    /// True while the stream's work is recorded into a graph.
    public func isCapturing() throws(CUDAError) -> Bool {
        try context.activate()
        var status: UInt32 = 0
        try check(table.pointee.captureStatus(handle, &status), "cuStreamIsCapturing")
        return status != 0
    }

    /// Like the driver's check, and names the kernel that may have done the damage.
    @inline(__always)
    func check(_ status: Int32, _ call: StaticString) throws(CUDAError) {
        guard status != 0 else { return }
        throw faultError(status, call)
    }

    private func faultError(_ status: Int32, _ call: StaticString) -> CUDAError {
        guard DriverStatus(status).code == .kernelFault, let name = lastKernel.withLock({ $0 }) else { return driver.error(status, call) }
        return driver.error(status, call, driver.isSynchronous ? "kernel '\(name)'" : "an earlier kernel, at the latest '\(name)'")
    }

    func didLaunch(_ name: String) throws(CUDAError) {
        lastKernel.withLock { $0 = name }
        guard driver.isSynchronous, !(try isCapturing()) else { return }
        try check(table.pointee.synchronizeStream(handle), "cuStreamSynchronize")
    }
}
