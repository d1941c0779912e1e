import CUDA
import Dispatch
import Operators
import Synchronization
import Transformer

/// Decides where a model runs, and makes the executors.
struct ExecutorChoice {
    let spec: TransformerSpec
    let weights: TransformerWeights
    let options: ModelOptions
    let groupRows: Int?
    /// Of the vectors that will be asked for.
    let head: EncoderHead?

    /// One executor for the CPU, or one for each GPU that was asked for.
    ///
    /// `auto` takes the first GPU, and the CPU where there is none, where its kernels cannot be compiled or do not compute the model. A GPU that was
    /// asked for by name and cannot be had is an error.
    func makeExecutors() throws -> [any ModelExecutor] {
        switch options.device {
        case .cpu:
            guard options.replicas == .count(1) || options.replicas == .all else {
                throw ApusError(.noDevice, "\(options.replicas) copies of a model need as many GPUs; the CPU runs one")
            }
            return [try cpu()]
        case .automatic:
            guard let device = try options.device.resolve(), DeviceWeights.obstacle(spec) == nil, Self.canCompile else {
                guard options.replicas == .count(1) || options.replicas == .all else {
                    throw ApusError(.noDevice, "\(options.replicas) copies of a model need as many GPUs, and there is none to use here")
                }
                return [try cpu()]
            }
            return try cuda(from: device)
        case .cuda:
            guard let device = try options.device.resolve() else { return [try cpu()] }
            return try cuda(from: device)
        }
    }

    private static var canCompile: Bool { (try? Compiler.shared()) != nil }

    private func cpu() throws -> any ModelExecutor {
        guard options.precision == .bfloat16 else {
            throw ApusError(.noDevice, "the precision \(options.precision.rawValue) is a GPU's, and the model would run on the CPU")
        }
        return try CPUExecutor(
            spec: spec, weights: weights, threads: options.threads, precision: options.cpuPrecision, cacheFormat: options.cacheFormat)
    }

    private func cuda(from first: Device) throws -> [any ModelExecutor] {
        let devices = try Self.choose(options.replicas, of: Device.all(), from: first.ordinal)
        let results = Mutex([Result<CUDAExecutor, any Error>?](repeating: nil, count: devices.count))
        DispatchQueue.concurrentPerform(iterations: devices.count) { index in
            let result = Result {
                try CUDAExecutor(
                    spec: spec, weights: weights, device: devices[index], path: options.kernels, fusion: options.fusion ?? .none,
                    precision: options.precision, groupRows: groupRows, decoding: options.decoding, decodeWeights: options.decodeWeights,
                    cacheFormat: options.cacheFormat, head: head)
            }
            results.withLock { $0[index] = result }
        }
        return try results.withLock { try $0.compactMap { try $0?.get() } }
    }

    /// The GPUs from a position on, as many as asked for, without those that the kernels do not run on.
    static func choose(_ count: ReplicaCount, of devices: [Device], from first: Int) throws -> [Device] {
        let usable = devices.filter { $0.ordinal >= first && $0.isSupported }
        guard case .count(let wanted) = count else { return usable }
        guard usable.count >= wanted else {
            throw ApusError(
                .noDevice, "\(wanted) GPUs were asked for from cuda:\(first) on, there \(usable.count == 1 ? "is" : "are") \(usable.count)")
        }
        return Array(usable.prefix(wanted))
    }
}
