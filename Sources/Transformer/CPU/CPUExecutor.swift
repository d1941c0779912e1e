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
    /// What the caches of this executor's sessions are rounded to; they lie in fp32 either way.
    public let cacheFormat: KeyValueCacheFormat
    /// Whether what lies between the operations of a layer is rounded to bf16: what a GPU's layers keep so. Sums and the residual stream stay fp32.
    package let roundsBetweenOperations: Bool

    /// Rows that pass through a layer's matrices together: enough to pay for unpacking a weight panel, few enough to stay small.
    static let blockRows = 512

    /// - Parameter roundsBetweenOperations: for verification: how far off roundings alone are.
    package init(
        spec: TransformerSpec, weights: TransformerWeights, threads: Int? = nil, precision: CPUPrecision = .fp32,
        cacheFormat: KeyValueCacheFormat = .bfloat16, roundsBetweenOperations: Bool = false
    ) throws {
        try spec.validate()
        self.spec = spec
        self.weights = weights
        self.cacheFormat = cacheFormat
        self.roundsBetweenOperations = roundsBetweenOperations
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

    /// A session behind keys and values that another device has computed: for each layer `[2, position, G, D]`. For verification.
    package func makeSession(behind rows: [[Float]]) throws -> any DecoderSession {
        let size = 2 * spec.keyValueHeads * spec.headDimension
        guard rows.count == spec.layers.count, rows.allSatisfy({ $0.count == rows[0].count && $0.count % size == 0 }) else {
            throw TransformerError(.invalidSpec, "keys and values of \(rows.count) layers do not fit the model's \(spec.layers.count)")
        }
        let session = CPUDecoderSession(self)
        session.take(rows)
        return session
    }

    /// The keys, then the values of a layer in a session's cache, `[2, position, G, D]`. For verification.
    package func cachedRows(of session: any DecoderSession, layer: Int) throws -> [Float] {
        guard let session = session as? CPUDecoderSession, spec.layers.indices.contains(layer), session.position > 0 else {
            throw TransformerError(.invalidSpec, "the session has no rows of layer \(layer) on this executor")
        }
        return session.cachedRows(layer: layer)
    }
}
