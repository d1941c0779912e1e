import CUDA
import Foundation
package import Transformer

/// What it takes from a model's opened folder to its first vector on a GPU.
package struct EmbedStart: Sendable {
    /// Seconds until the weights are on the GPU.
    package let loading: Double
    /// Seconds from there to the first vector: kernels, and the pass itself.
    package let firstVector: Double

    /// Two starts that share a cache of kernels which is empty at first: everything is compiled, then everything is read.
    ///
    /// - Parameter executor: one of the same model, whose choices they take.
    package static func measure(
        _ executor: CUDAExecutor, weights: TransformerWeights, head: EncoderHead
    ) throws -> (cold: EmbedStart, warm: EmbedStart) {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("apus-start-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var variables = ProcessInfo.processInfo.environment
        variables["APUS_CACHE"] = folder
        func start() throws -> EmbedStart {
            let compiler = try Compiler(environment: Environment(variables), driverVersion: Driver.shared().version, usesDriverCache: false)
            let clock = ContinuousClock()
            let opened = clock.now
            let fresh = try CUDAExecutor(
                spec: executor.spec, weights: weights, device: executor.device, path: executor.path, fusion: executor.fusion,
                precision: executor.precision, groupRows: executor.groupRows, compiler: compiler)
            let loaded = clock.now
            _ = try fresh.encode(TokenBatch([[1, 2, 3]]), head: head)
            return EmbedStart(loading: (loaded - opened) / .seconds(1), firstVector: (clock.now - loaded) / .seconds(1))
        }
        return (try start(), try start())
    }
}
