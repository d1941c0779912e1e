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
    /// Whether products of bf16 weights round activations; false where the processor has no instructions for it.
    package let roundsActivations: Bool

    /// - Parameter threads: 1 or more; nil for one a processor of this process.
    package init(threads: Int? = nil, precision: CPUPrecision = .fp32) throws {
        threadCount = max(1, threads ?? Self.processorCount)
        guard let pool = apus_pool_create(threadCount) else {
            throw TransformerError(.noThreads, "could not start \(threadCount) threads; ask for fewer")
        }
        self.pool = pool
        roundsActivations = apus_pool_allow_rounding(pool, precision == .bf16)
    }

    deinit { apus_pool_destroy(pool) }

    /// Runs `body` while no other pass uses the team.
    package func withPool<Result>(_ body: (OpaquePointer) throws -> Result) rethrows -> Result {
        try lock.withLock { try body(pool) }
    }
}
