import CCPUKernels

/// Runs a transformer on the CPU: weights as they lie in the mapped file, fp32 activations and accumulation, threads over the C kernels.
///
/// Beside the weights and the caches it needs scratch for ``blockRows`` rows and, for ``encode(_:head:)``, `T · (C + 2 G D)` floats.
public final class CPUExecutor: ModelExecutor {
    public let spec: TransformerSpec
    package let weights: TransformerWeights
    let pool: ThreadPool
    let ropes: RopeTables
    let embeddingScale: Float

    /// Rows that pass through a layer's matrices together: enough to pay for unpacking a weight panel, few enough to stay small.
    static let blockRows = 512

    package init(spec: TransformerSpec, weights: TransformerWeights, threads: Int? = nil, precision: CPUPrecision = .fp32) throws {
        try spec.validate()
        self.spec = spec
        self.weights = weights
        pool = try ThreadPool(threads: threads, precision: precision)
        ropes = RopeTables(headDimension: spec.headDimension)
        embeddingScale = spec.embeddingScale.map(weights.embedding.rounded) ?? 1
    }

    public var deviceDescription: String {
        "CPU, \(pool.threadCount) thread\(pool.threadCount == 1 ? "" : "s"), \(String(cString: apus_cpu_level()))"
            + (pool.roundsActivations ? ", activations rounded to bf16" : "")
    }

    /// Whether activations are rounded: ``CPUPrecision/bf16`` was asked for and this processor has instructions for it.
    package var roundsActivations: Bool { pool.roundsActivations }

    /// Runs `body` with the executor's team of threads, for measuring.
    package func withPool<Result>(_ body: (OpaquePointer) throws -> Result) rethrows -> Result { try pool.withPool(body) }

    public func makeSession() throws -> any DecoderSession { CPUDecoderSession(self) }
}
