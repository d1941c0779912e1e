import Apus
import Foundation
import Transformer

/// The 8-bit form of the resident kernel: right against a CPU that has the same rounded weights, and what the rounding costs against bf16.
extension DeviceVerifier {
    /// Of the kernel against the rounded weights, at any position, in nats.
    static let codeDivergenceBound = 1e-3
    /// Norm of the difference over the norm of the logits, at any position: sees faults where the logits are nearly equal.
    static let codeErrorBound = 0.02
    /// What the rounding may cost, in the mean of all positions: far above what it does cost, far below that of another model.
    static let lossBound = 0.5
    static let agreementBound = 0.5

    func checkCodes(_ sequences: [[Int32]], _ report: (ModelVerifier.Check) throws -> Void) throws {
        let rounded = try CPUExecutor(
            spec: model.spec, weights: model.weights.roundedToCodes(), threads: threads, cacheFormat: device.cacheFormat)
        for ids in sequences {
            let (actual, same, whole) = (try logits(device, ids), try logits(rounded, ids), try logits(reference, ids))
            let name = "fp8, \(ids.count) tokens: "
            try report(
                .init(
                    name: name + "KL to the same weights", value: zip(actual, same).map(Self.divergence).max() ?? .nan,
                    bound: Self.codeDivergenceBound, isLowerBound: false))
            try report(
                .init(
                    name: name + "logits, same weights", value: zip(actual, same).map(Self.relativeError).max() ?? .nan,
                    bound: Self.codeErrorBound, isLowerBound: false))
            let losses = zip(actual, whole).map(Self.divergence)
            try report(
                .init(
                    name: name + "KL to bf16, mean", value: losses.reduce(0, +) / Double(losses.count), bound: Self.lossBound, isLowerBound: false))
            guard ids.count > 8 else { continue }
            let agreeing = zip(actual, whole).count { Self.likeliest($0) == Self.likeliest($1) }
            try report(
                .init(
                    name: name + "likeliest token as bf16", value: Double(agreeing) / Double(ids.count), bound: Self.agreementBound,
                    isLowerBound: true))
        }
    }

    /// The logits behind every position.
    func logits(_ executor: any ModelExecutor, _ ids: [Int32]) throws -> [[Float]] {
        var rows: [[Float]] = []
        try executor.makeSession().extend(ids) { _, logits in rows.append(logits) }
        return rows
    }

    static func likeliest(_ logits: [Float]) -> Int? { logits.indices.max { logits[$0] < logits[$1] } }

    /// The divergence of the distribution of `actual` from that of `expected` (Kullback and Leibler), in nats; NaN where one is NaN.
    package static func divergence(of actual: [Float], from expected: [Float]) -> Double {
        func logSum(_ logits: [Float]) -> Double {
            let most = Double(logits.max() ?? 0)
            return most + log(logits.reduce(0) { $0 + exp(Double($1) - most) })
        }
        let (a, e) = (logSum(actual), logSum(expected))
        return zip(actual, expected).reduce(0) { sum, pair in
            let (p, q) = (Double(pair.0) - a, Double(pair.1) - e)
            return sum + exp(q) * (q - p)
        }
    }
}
