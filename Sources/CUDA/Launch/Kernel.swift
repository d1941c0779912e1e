import CCUDA
import Synchronization

/// One kernel on one GPU, with what it needs there. It keeps its module loaded.
@usableFromInline
package final class Kernel: Sendable {
    package let name: String
    package let module: Module
    package let registerCount: Int
    /// Shared memory that the kernel declares itself, in bytes.
    package let staticSharedByteCount: Int
    /// Local memory of a thread, in bytes: stack and spilled registers.
    package let localByteCount: Int
    /// Threads that a block may have with this many registers.
    package let maximumThreadsPerBlock: Int
    /// The bytes of each parameter; nil where the image does not tell.
    let parameterSizes: [Int]?

    // Safe to share: the handle never changes, and libcuda is thread-safe.
    nonisolated(unsafe) let handle: apus_function
    private let state = Mutex(State())

    private struct State {
        /// The most dynamic shared memory that launches have asked for so far.
        var allowedSharedByteCount = 0
        var allowsLargeClusters = false
        /// Configurations that passed the check, so that a launch that was made before costs one look-up.
        var accepted: Set<LaunchConfiguration> = []
        /// The one of them that was used last: most kernels are launched the same way again.
        var last: LaunchConfiguration?
    }

    var context: Context { module.context }
    var driver: Driver { module.context.driver }
    var table: UnsafeMutablePointer<apus_driver> { module.context.table }

    init(_ function: apus_function, name: String, parameterSizes: [Int]?, module: Module) throws(CUDAError) {
        let driver = module.context.driver
        func read(_ attribute: Attribute) throws(CUDAError) -> Int {
            var value: Int32 = 0
            try driver.check(
                driver.table.pointee.functionAttribute(&value, attribute.rawValue, function), "cuFuncGetAttribute", "kernel '\(name)'")
            return Int(value)
        }
        self.name = name
        self.module = module
        handle = function
        maximumThreadsPerBlock = try read(.maximumThreads)
        staticSharedByteCount = try read(.staticShared)
        localByteCount = try read(.local)
        registerCount = try read(.registers)
        self.parameterSizes = parameterSizes
    }

    /// Blocks of this kernel that one multiprocessor holds at once.
    package func residentBlocksPerMultiprocessor(threads: Int, sharedByteCount: Int) throws(CUDAError) -> Int {
        try context.activate()
        try allowShared(sharedByteCount)
        var count: Int32 = 0
        let status = table.pointee.occupancyBlocks(&count, handle, Int32(clamping: threads), max(0, sharedByteCount))
        try driver.check(status, "cuOccupancyMaxActiveBlocksPerMultiprocessor", "kernel '\(name)'")
        return Int(count)
    }

    /// Clusters of this configuration that the GPU holds at once.
    package func residentClusters(_ configuration: LaunchConfiguration) throws(CUDAError) -> Int {
        try context.activate()
        try allowShared(configuration.sharedByteCount)
        try allowCluster(configuration.cluster)
        var shape = configuration.shape(on: context.device)
        var count: Int32 = 0
        let status = apus_driver_occupancy_clusters(table, handle, &shape, &count)
        try driver.check(status, "cuOccupancyMaxActiveClusters", "kernel '\(name)'")
        return Int(count)
    }

    /// Checks a configuration, once, and sets what the kernel needs for it.
    func prepare(_ configuration: LaunchConfiguration) throws(CUDAError) {
        let isAccepted = state.withLock { state in
            if state.last == configuration { return true }
            guard state.accepted.contains(configuration) else { return false }
            state.last = configuration
            return true
        }
        if isAccepted { return }
        try checkLimits(configuration)
        try allowShared(configuration.sharedByteCount)
        try allowCluster(configuration.cluster)
        try checkResidency(configuration)
        state.withLock { state in
            // A caller that never repeats a configuration must not fill the memory.
            if state.accepted.count >= 4096 { state.accepted.removeAll() }
            state.accepted.insert(configuration)
        }
    }

    /// Beyond 48 KiB a kernel must be told before the launch how much shared memory it may get.
    private func allowShared(_ byteCount: Int) throws(CUDAError) {
        guard staticSharedByteCount + byteCount > 48 * 1024 else { return }
        let status = state.withLock { state -> Int32 in
            guard byteCount > state.allowedSharedByteCount else { return 0 }
            let status = table.pointee.setFunctionAttribute(handle, Attribute.dynamicShared.rawValue, Int32(clamping: byteCount))
            if status == 0 { state.allowedSharedByteCount = byteCount }
            return status
        }
        try driver.check(status, "cuFuncSetAttribute", "\(byteCount) bytes of dynamic shared memory for kernel '\(name)'")
    }

    /// Clusters of more than 8 blocks are not promised by every GPU of an architecture, so they are asked for by name.
    private func allowCluster(_ cluster: Extent?) throws(CUDAError) {
        guard let cluster, cluster.count > 8 else { return }
        let status = state.withLock { state -> Int32 in
            guard !state.allowsLargeClusters else { return 0 }
            let status = table.pointee.setFunctionAttribute(handle, Attribute.nonPortableCluster.rawValue, 1)
            if status == 0 { state.allowsLargeClusters = true }
            return status
        }
        try driver.check(status, "cuFuncSetAttribute", "a cluster of \(cluster) blocks for kernel '\(name)'")
    }

    /// Numbers of CUfunction_attribute.
    private enum Attribute: UInt32 {
        case maximumThreads = 0
        case staticShared = 1
        case local = 3
        case registers = 4
        case dynamicShared = 8
        case nonPortableCluster = 14
    }
}
