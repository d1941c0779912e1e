import Benchmarking
import Foundation
import Tensors
import Testing
import Transformer

/// On a model with sharp logits roundings alone miss the fixed bounds; those that follow from them hold for another computation of the same kind, and
/// no fault meets them.
@Suite struct RoundingReferenceTests {
    private let spec = TransformerSpec(
        vocabularySize: 300, hiddenSize: 128, intermediateSize: 256, queryHeads: 4, keyValueHeads: 2, headDimension: 32,
        layers: (0..<8).map { .init(window: $0 % 2 == 0 ? 12 : nil, rope: .init(base: $0 % 2 == 0 ? 1e4 : 1e6)) }, normPlacement: .pre,
        normWeightOffset: 0, normEpsilon: 1e-6, hasQueryKeyNorm: true, activation: .silu, attentionScale: 0.177, embeddingScale: nil,
        isBidirectional: false, hasTiedHead: true, maximumPositions: 128)

    private func weights() throws -> TransformerWeights {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("weights-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        // The mapping outlives the file.
        defer { try? FileManager.default.removeItem(at: folder) }
        let names = Qwen3Family.tensorNames(for: spec)
        try RandomWeights(spec: spec, seed: 5, deviation: 0.3, dtype: .bfloat16).write(to: folder.path, names: names, prefix: "model.")
        return try TransformerWeights(SafetensorsCheckpoint(directory: folder.path), spec: spec, names: names)
    }

    private func logits(_ executor: CPUExecutor, _ ids: [Int32]) throws -> [[Float]] {
        var rows: [[Float]] = []
        try executor.makeSession().extend(ids) { _, logits in rows.append(logits) }
        return rows
    }

    private func ids(_ seed: Int) -> [Int32] { (0..<100).map { Int32(($0 * 7919 + $0 * $0 * seed) % 300) } }

    @Test func whatRoundsAlikePassesAndFaultsDoNot() throws {
        let weights = try weights()
        let exact = try CPUExecutor(spec: spec, weights: weights, threads: 2)
        let rounding = try CPUExecutor(spec: spec, weights: weights, threads: 2, roundsBetweenOperations: true)
        let fixed = PositionBounds(relative: 0.02)
        // Other tokens are rounded otherwise, as the same ones are on another machine.
        let known = zip(try logits(rounding, ids(31)), try logits(exact, ids(31))).map(PositionError.init)
        let bounds = fixed.widened(by: known)
        let expected = try logits(exact, ids(17))
        let right = zip(try logits(rounding, ids(17)), expected).map(PositionError.init)
        #expect(!fixed.holds(right))
        #expect(bounds.holds(right), "\(right.worst(\.divergence)) of \(bounds.divergence)")
        #expect(!PositionBounds(relative: 0.02).widened(by: []).holds(right))
        for fault in DeviceVerifier.Fault.allCases {
            let wrong = try CPUExecutor(spec: fault.applied(to: spec), weights: weights, threads: 2, roundsBetweenOperations: true)
            let errors = zip(try logits(wrong, ids(17)), expected).map(PositionError.init)
            #expect(errors.worst(\.divergence) > 10 * bounds.divergence, "\(fault): \(errors.worst(\.divergence)) of \(bounds.divergence)")
            #expect(errors.worst(\.relative) > 3 * bounds.relative && bounds.wrong(errors) > 0, "\(fault)")
        }
    }
}
