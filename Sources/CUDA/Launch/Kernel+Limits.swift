// A launch that the GPU cannot hold is refused here, with the numbers, before the driver sees it: the driver's own answer is one word, and a grid
// that waits for blocks that never start would hang.
extension Kernel {
    func checkLimits(_ configuration: LaunchConfiguration) throws(CUDAError) {
        let device = context.device
        let (grid, block) = (configuration.grid, configuration.block)
        guard grid.isPositive, block.isPositive else {
            throw refusal("a grid of \(grid) blocks of \(block) threads is empty. Launch nothing for an empty tensor")
        }
        let (widest, deepest) = (device.maximumGrid, device.maximumBlock)
        guard grid.x <= widest.x, grid.y <= widest.y, grid.z <= widest.z else {
            throw refusal("a grid of \(grid) blocks is beyond the \(widest.x) x \(widest.y) x \(widest.z) of \(device)")
        }
        guard block.x <= deepest.x, block.y <= deepest.y, block.z <= deepest.z, block.count <= device.maximumThreadsPerBlock else {
            throw refusal(
                "a block of \(block) threads is beyond the \(device.maximumThreadsPerBlock) (\(deepest.x) x \(deepest.y) x \(deepest.z)) of \(device)"
            )
        }
        guard block.count <= maximumThreadsPerBlock else {
            throw refusal(
                "it runs with at most \(maximumThreadsPerBlock) threads a block (\(registerCount) registers a thread), not \(block.count)")
        }
        let shared = staticSharedByteCount.addingReportingOverflow(configuration.sharedByteCount)
        guard configuration.sharedByteCount >= 0, !shared.overflow, shared.partialValue <= device.sharedByteCountPerBlock else {
            throw refusal(
                "it needs \(staticSharedByteCount) + \(configuration.sharedByteCount) bytes of shared memory a block, but \(device) gives at most \(device.sharedByteCountPerBlock)"
            )
        }
        if configuration.residency == .cooperative, !device.supportsCooperativeLaunch {
            throw refusal("\(device) has no cooperative launch")
        }
        if let cluster = configuration.cluster { try checkCluster(cluster, grid: grid) }
    }

    private func checkCluster(_ cluster: Extent, grid: Extent) throws(CUDAError) {
        let device = context.device
        guard device.supportsClusters else {
            throw refusal("it wants clusters, which need compute capability 9.0; \(device) has \(device.computeCapability)")
        }
        guard cluster.isPositive, cluster.count <= 16 else {
            throw refusal("a cluster of \(cluster) blocks is beyond the 16 that a GPU can hold")
        }
        guard grid.x % cluster.x == 0, grid.y % cluster.y == 0, grid.z % cluster.z == 0 else {
            throw refusal("a grid of \(grid) blocks does not divide into clusters of \(cluster)")
        }
    }

    func checkResidency(_ configuration: LaunchConfiguration) throws(CUDAError) {
        let device = context.device
        let threads = configuration.block.count
        let needs =
            "\(threads) threads of \(registerCount) registers and \(staticSharedByteCount + configuration.sharedByteCount) bytes of shared memory a block"
        if let cluster = configuration.cluster, cluster.count > 1 {
            let clusters = try residentClusters(configuration)
            guard clusters > 0 else { throw refusal("no cluster of \(cluster) blocks fits \(device): \(needs)") }
            guard configuration.residency != .none, configuration.grid.count > clusters * cluster.count else { return }
            throw refusal(
                "its \(configuration.grid.count) blocks must all be resident, but \(device) holds \(clusters * cluster.count): \(clusters) clusters of \(cluster) blocks (\(needs))"
            )
        }
        guard configuration.residency != .none else { return }
        let blocks = try residentBlocksPerMultiprocessor(threads: threads, sharedByteCount: configuration.sharedByteCount)
        let resident = blocks * device.multiprocessorCount
        guard configuration.grid.count > resident else { return }
        throw refusal(
            "its \(configuration.grid.count) blocks must all be resident, but \(device) holds \(resident): \(device.multiprocessorCount) multiprocessors with \(blocks) each (\(needs))"
        )
    }

    func refusal(_ reason: String) -> CUDAError {
        CUDAError(.launchRefused, "kernel '\(name)' cannot be launched: \(reason).")
    }
}
