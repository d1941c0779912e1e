import CUDA

extension OperatorContext {
    /// What choices for an operator are kept under on this GPU. Throws where the kernel's source is not there.
    public func tuningIdentity(of operation: String) throws(OperatorError) -> TuningIdentity {
        let path = operation.hasPrefix("rmsNorm") ? NormVariant.path : HopperGEMMVariant.path
        let source = try OperatorError.wrap(operation) { () throws(CUDAError) in try compiler.library.source(path) }
        let driver = (try? DeviceMonitor(device))?.driverVersion ?? "CUDA \(device.driver.version)"
        return TuningIdentity(
            device: device.name, computeCapability: "\(device.computeCapability)", driver: driver, kernel: source.fingerprint)
    }

    /// Takes over all choices that were found on this GPU with this driver and these kernels, and says how many they are.
    ///
    /// From then on the operators use them at the shapes that they were found for. Choices of other machines, drivers or kernels are passed over, and
    /// so are those that are not legal.
    @discardableResult
    public func loadTuning(from cache: TuningCache = TuningCache()) throws(OperatorError) -> Int {
        var identities: [String: TuningIdentity] = [:]
        var count = 0
        for entry in cache.entries {
            let key = entry.choice.key
            guard OperatorTuning.isLegal(entry.choice.values, for: key) else { continue }
            let identity: TuningIdentity
            if let known = identities[key.operation] {
                identity = known
            } else {
                identity = try tuningIdentity(of: key.operation)
                identities[key.operation] = identity
            }
            guard identity == entry.identity else { continue }
            try tuning.set(entry.choice.values, for: key)
            count += 1
        }
        return count
    }
}
