import Apus
import Transformer

/// What bf16 between a layer's operations does to a model: the CPU's executor once more, which rounds where a GPU's layers round.
///
/// A fixed bound is right for the models that it was measured with. How far roundings carry is the model's own: the sharper its attention and its
/// logits, the further. Two computations that round in the same places agree in the size of their errors and soon not in the errors themselves, since
/// sums in another order round otherwise. On an H200 the GPU's layers were off by 0.88 to 1.15 times what this CPU is off by, whether that was a
/// hundredth or a tenth (docs/prefill.md); a GPU that rounds the weights too adds about as much again. So where a fixed bound is missed, twice this error is allowed.
package final class RoundingReference {
    private let model: LoadedModel
    private let threads: Int?
    private let cacheFormat: KeyValueCacheFormat
    private var made: CPUExecutor?

    init(_ model: LoadedModel, threads: Int?, cacheFormat: KeyValueCacheFormat) {
        self.model = model
        self.threads = threads
        self.cacheFormat = cacheFormat
    }

    /// Made when a bound is missed: most models never need it.
    func executor() throws -> CPUExecutor {
        if let made { return made }
        let executor = try CPUExecutor(
            spec: model.spec, weights: model.weights, threads: threads, cacheFormat: cacheFormat, roundsBetweenOperations: true)
        made = executor
        return executor
    }

    /// How many times the roundings' error is allowed.
    package static let factor = 2.0

    /// The bound of an error.
    package static func bound(_ fixed: Double, roundings: Double) -> Double { roundings.isFinite ? max(fixed, factor * roundings) : fixed }

    /// The bound of a cosine, whose distance from 1 is half the square of an error.
    package static func cosineBound(_ fixed: Double, roundings: Double) -> Double {
        roundings.isFinite ? min(fixed, 1 - factor * factor * (1 - roundings)) : fixed
    }
}
