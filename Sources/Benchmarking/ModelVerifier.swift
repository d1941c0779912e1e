package import Apus
import CCPUKernels
import Foundation
import Transformer

/// Checks a loaded model's executor against plainer ways of computing the same: what a user runs to know that their machine computes it right.
package struct ModelVerifier {
    /// One check: a measured value against its bound.
    package struct Check: Sendable {
        package let name: String
        package let value: Double
        package let bound: Double
        /// Whether the value must be at least the bound (a cosine) instead of at most (an error).
        package let isLowerBound: Bool

        /// NaN fails either way.
        package var passes: Bool { isLowerBound ? value >= bound : value <= bound }
    }

    private let model: LoadedModel
    private let executor: any ModelExecutor
    private let threads: Int?
    private let seed: UInt64

    /// - Parameter threads: of the CPU that a GPU is held against; nil for one a processor.
    package init(model: LoadedModel, threads: Int? = nil, seed: UInt64) {
        self.model = model
        self.threads = threads
        executor = model.executor
        self.seed = seed
    }

    /// Runs all checks that fit the model and reports each as it is done.
    ///
    /// - Parameter fault: for a model on a GPU, a fault to put into what the GPU computes, which shows that the checks see it.
    package func run(fault: DeviceVerifier.Fault? = nil, report: (Check) throws -> Void) throws {
        if let device = executor as? CUDAExecutor {
            return try DeviceVerifier(model: model, device: device, threads: threads, seed: seed, fault: fault).run(report: report)
        }
        // Sums in another order differ in their last bits, and a cache of codes makes a step of up to an eighth of that where a value lies between two.
        let plainBound = executor.cacheFormat == .float8 ? 0.1 : 1e-3
        let lengths = [1, 2, 31, 32, 33, 127, 129].filter { $0 <= executor.spec.maximumPositions }
        if model.hasHead, !executor.spec.isBidirectional {
            for length in lengths {
                let ids = randomIDs(length, stream: "decode \(length)")
                let whole = try executor.makeSession().extend(ids)
                try report(
                    Check(
                        name: "logits are finite, \(length) tokens", value: whole.contains { !$0.isFinite } ? 1 : 0, bound: 0, isLowerBound: false))
                try report(
                    Check(
                        name: "prefill equals single steps, \(length) tokens", value: relativeError(whole, try stepwise(ids)), bound: 1e-3,
                        isLowerBound: false))
                try report(
                    Check(
                        name: "prefill equals plain C, \(length) tokens", value: relativeError(whole, try plainLogits(ids)), bound: plainBound,
                        isLowerBound: false))
            }
        }
        let head = try model.encoderDescription().head
        let sequences = lengths.map { randomIDs($0, stream: "encode \($0)") }
        let width = head.fullDimension(hiddenSize: executor.spec.hiddenSize)
        let together = try executor.encode(TokenBatch(sequences), head: head)
        let plain = try plainExecutor { try $0.encode(TokenBatch(sequences), head: head) }
        for (index, ids) in sequences.enumerated() {
            let vector = together[index * width..<(index + 1) * width]
            let alone = try executor.encode(TokenBatch([ids]), head: head)
            try report(
                Check(
                    name: "vector alone and in a batch, \(ids.count) tokens", value: VectorComparison.cosine(alone, vector), bound: 0.99999,
                    isLowerBound: true))
            try report(
                Check(
                    name: "vector equals plain C, \(ids.count) tokens",
                    value: VectorComparison.cosine(plain[index * width..<(index + 1) * width], vector),
                    bound: 0.99999, isLowerBound: true))
        }
    }

    /// Gives the executor what it must refuse, and more than its memory holds; on a GPU only.
    package func runFaults(report: (Check) throws -> Void) throws {
        guard let device = executor as? CUDAExecutor else {
            throw TransformerError(.unsupportedModel, "faults are checked on a GPU, and the model runs on \(executor.deviceDescription)")
        }
        try DeviceFaultVerifier(model: model, device: device, seed: seed).run(report: report)
    }

    private func stepwise(_ ids: [Int32]) throws -> [Float] {
        let session = try executor.makeSession()
        var last: [Float] = []
        for id in ids { last = try session.extend([id]) }
        return last
    }

    private func plainLogits(_ ids: [Int32]) throws -> [Float] { try plainExecutor { try $0.makeSession().extend(ids) } }

    /// Runs `body` with the plain C kernels in place of those for this processor.
    private func plainExecutor<Result>(_ body: (any ModelExecutor) throws -> Result) rethrows -> Result {
        let level = String(cString: apus_cpu_level())
        apus_cpu_set_level("plain")
        defer { apus_cpu_set_level(level) }
        return try body(executor)
    }

    private func randomIDs(_ count: Int, stream: String) -> [Int32] {
        let numbers = RandomNumbers(seed: seed, stream: stream)
        return (0..<count).map { index in
            Int32((abs(numbers.normal(index)) * 1e6).truncatingRemainder(dividingBy: Float(executor.spec.vocabularySize)))
        }
    }

    /// Largest difference over the reference's standard deviation.
    private func relativeError(_ actual: [Float], _ expected: [Float]) -> Double {
        let mean = expected.reduce(0) { $0 + Double($1) } / Double(expected.count)
        let variance = expected.reduce(0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / Double(expected.count)
        var largest = 0.0
        for (a, b) in zip(actual, expected) {
            let difference = abs(Double(a) - Double(b))
            guard !difference.isNaN else { return .nan }
            largest = max(largest, difference)
        }
        return variance > 0 ? largest / variance.squareRoot() : largest
    }
}
