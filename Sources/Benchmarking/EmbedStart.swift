import CUDA
import Foundation
package import Transformer

/// What it takes from a model's opened folder to its first vector on a GPU.
package struct EmbedStart: Sendable {
    /// Seconds until the weights are on the GPU.
    package let loading: Double
    /// Seconds from there to the first vectors: kernels, and the pass itself.
    package let firstVectors: Double

    /// Lengths that want every form of attention.
    private static let mixedLengths = [3, 200, 600, 1500, 4000]

    /// Two starts that share a cache of kernels which is empty at first: everything is compiled, then everything is read.
    ///
    /// - Parameters:
    ///   - executor: one of the same model, whose choices they take.
    ///   - isMixed: the first vectors are of texts of many lengths, and not of one short text.
    package static func measure(
        _ executor: CUDAExecutor, weights: TransformerWeights, head: EncoderHead, isMixed: Bool
    ) throws -> (cold: EmbedStart, warm: EmbedStart) {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("apus-start-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var variables = ProcessInfo.processInfo.environment
        variables["APUS_CACHE"] = folder
        let lengths = isMixed ? Self.mixedLengths.filter { $0 <= executor.spec.maximumPositions } : [3]
        let batch = TokenBatch(lengths.map { (0..<$0).map { Int32(1 + $0 % 100) } })
        func start() throws -> EmbedStart {
            let compiler = try Compiler(environment: Environment(variables), driverVersion: Driver.shared().version, usesDriverCache: false)
            let clock = ContinuousClock()
            let opened = clock.now
            let fresh = try CUDAExecutor(
                spec: executor.spec, weights: weights, device: executor.device, path: executor.path, fusion: executor.fusion,
                precision: executor.precision, groupRows: executor.groupRows, head: head, compiler: compiler)
            let loaded = clock.now
            _ = try fresh.encode(batch, head: head)
            let ready = clock.now
            // The next start reads all that this one would have compiled.
            fresh.finishPreparing()
            return EmbedStart(loading: (loaded - opened) / .seconds(1), firstVectors: (ready - loaded) / .seconds(1))
        }
        return (try start(), try start())
    }
}
