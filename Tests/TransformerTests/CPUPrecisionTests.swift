import Tensors
import Testing
import Transformer

@Suite struct CPUPrecisionTests {
    /// Rounded activations move logits a little where the processor rounds them, and not at all elsewhere; single steps are never rounded.
    @Test(arguments: ["qwen3-untied-bf16", "gemma3-bf16-untied"]) func roundingIsSmallAndForManyRowsOnly(name: String) throws {
        let golden = try GoldenModel(name)
        let exact = try golden.executor()
        let rounded = try CPUExecutor(spec: golden.spec, weights: golden.weights, threads: 2, precision: .bf16)
        let ids = (0..<40).map { Int32($0 * 31 % 97) }
        let expected = try exact.makeSession().extend(ids), logits = try rounded.makeSession().extend(ids)
        #expect(rounded.deviceDescription.contains("rounded") == rounded.roundsActivations)
        #expect(cosine(logits, expected) > 0.999)
        #expect((logits != expected) == rounded.roundsActivations)
        #expect(try rounded.makeSession().extend([1, 2, 3]) == exact.makeSession().extend([1, 2, 3]))
        #expect(!exact.roundsActivations)
    }

    /// What lies between operations has bf16's bits, the residual stream more; the error that remains is the roundings' size.
    @Test(arguments: ["qwen3-untied-bf16", "gemma3-bf16-untied"]) func roundingBetweenOperationsLeavesTheResidualStream(name: String) throws {
        let golden = try GoldenModel(name)
        let exact = try golden.executor()
        let rounding = try CPUExecutor(spec: golden.spec, weights: golden.weights, threads: 2, roundsBetweenOperations: true)
        let ids = (0..<40).map { Int32($0 * 31 % 97) }
        var expected: [[Float]] = []
        try exact.phases(TokenBatch([ids])) { _, _, rows in expected.append(rows) }
        try rounding.phases(TokenBatch([ids])) { layer, phase, rows in
            let isRounded = rows.allSatisfy { $0 == Float(BFloat16($0)) }
            #expect(isRounded == (phase != .middle && phase != .hidden), "layer \(layer) \(phase)")
            let whole = expected.removeFirst()
            let (difference, norm) = zip(rows, whole).reduce((Float(0), Float(0))) { ($0.0 + ($1.0 - $1.1) * ($1.0 - $1.1), $0.1 + $1.1 * $1.1) }
            #expect((1e-4...2e-2).contains((difference / norm).squareRoot()), "layer \(layer) \(phase)")
        }
        #expect(expected.isEmpty)
        let logits = try rounding.makeSession().extend(ids)
        #expect(logits.contains { $0 != Float(BFloat16($0)) })
        // Rounding is by the row: one by one they are the same but for sums in another order, which now and then round otherwise.
        let single = try rounding.makeSession()
        for id in ids.dropLast() { _ = try single.extend([id]) }
        #expect(cosine(try single.extend([ids[39]]), logits) > 0.9999)
    }
}
