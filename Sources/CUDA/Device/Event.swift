import CCUDA

/// A mark in a stream: for waiting, and for timing between two of them.
public final class Event: Sendable {
    public let context: Context
    private let hasTiming: Bool

    // Safe to share: the handle never changes, and libcuda is thread-safe.
    nonisolated(unsafe) let handle: apus_event

    private var table: UnsafeMutablePointer<apus_driver> { context.table }

    /// - Parameter timing: An event without timing is cheaper to record and to wait for.
    public init(_ context: Context, timing: Bool = true) throws(CUDAError) {
        try context.activate()
        let disableTiming: UInt32 = 2  // CU_EVENT_DISABLE_TIMING
        var event: apus_event?
        try context.driver.check(context.table.pointee.createEvent(&event, timing ? 0 : disableTiming), "cuEventCreate")
        guard let event else { throw context.driver.error(999, "cuEventCreate") }
        self.context = context
        hasTiming = timing
        handle = event
    }

    deinit {
        try? context.activate()
        _ = table.pointee.destroyEvent(handle)
    }

    /// Waits until the event has happened; an event that was never recorded counts as happened. Blocks the thread.
    public func synchronize() throws(CUDAError) {
        try context.activate()
        try context.driver.check(table.pointee.synchronizeEvent(handle), "cuEventSynchronize")
    }

    /// True when the event has happened, or was never recorded. Does not wait.
    public func isComplete() throws(CUDAError) -> Bool {
        try context.activate()
        let status = table.pointee.queryEvent(handle)
        if DriverStatus(status).isNotReady { return false }
        try context.driver.check(status, "cuEventQuery")
        return true
    }

    /// The time from an earlier event to this one, both recorded and complete. Its resolution is about half a microsecond.
    public func elapsed(since start: Event) throws(CUDAError) -> Duration {
        guard hasTiming, start.hasTiming else {
            throw CUDAError(.invalidArgument, "the time between two events needs both to be made with timing")
        }
        try context.activate()
        var milliseconds: Float = 0
        let status = table.pointee.elapsedTime(&milliseconds, start.handle, handle)
        if DriverStatus(status).isNotReady {
            throw CUDAError(.invalidArgument, "the time between two events was asked for before both had happened; synchronise first")
        }
        try context.driver.check(status, "cuEventElapsedTime")
        return .nanoseconds(Int64((Double(milliseconds) * 1e6).rounded()))
    }
}
