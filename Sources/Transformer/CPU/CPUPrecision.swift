/// What a CPU multiplies with bf16 weights.
public enum CPUPrecision: String, Sendable, CaseIterable {
    /// Activations in fp32, as they are.
    case fp32
    /// Activations rounded to bf16 where more than 16 rows meet a weight matrix, as PyTorch's bf16 models do everywhere; sums stay fp32. Nearly
    /// twice as fast on processors with AVX-512 BF16. On others it changes nothing.
    case bf16
}
