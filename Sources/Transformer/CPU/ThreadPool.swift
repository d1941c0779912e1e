import CCPUKernels
import Foundation

/// The team of threads that the C kernels spread over, lent to one forward pass at a time.
///
/// Sendable because the pool is only touched under the lock.
package final class ThreadPool: @unchecked Sendable {
    private let pool: OpaquePointer
    /// Processors that this process may use: a container's share, not the machine's.
    package static var processorCount: Int { apus_processor_count() }

    private let lock = NSLock()
    package let threadCount: Int

    /// - Parameter threads: 1 or more; nil for one a processor of this process.
    package init(threads: Int? = nil) throws {
        threadCount = max(1, threads ?? Self.processorCount)
        guard let pool = apus_pool_create(threadCount) else {
            throw TransformerError(.noThreads, "could not start \(threadCount) threads; ask for fewer")
        }
        self.pool = pool
    }

    deinit { apus_pool_destroy(pool) }

    /// Runs `body` while no other pass uses the team.
    package func withPool<Result>(_ body: (OpaquePointer) throws -> Result) rethrows -> Result {
        try lock.withLock { try body(pool) }
    }
}
