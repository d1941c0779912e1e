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
}
