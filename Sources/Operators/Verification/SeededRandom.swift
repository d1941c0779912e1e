import Tensors

#if canImport(Musl)
    import Musl
#else
    import Glibc
#endif

/// Random numbers that a seed fixes for good: SplitMix64 (Steele, Lea and Flood 2014), and normal values by Box and Muller.
package struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    package init(_ seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// In 0..<1.
    mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

    mutating func normal() -> Double {
        (-2 * log(1 - uniform())).squareRoot() * cos(2 * .pi * uniform())
    }

    mutating func choose<Value>(_ values: [Value]) -> Value { values[Int(next() % UInt64(values.count))] }

    mutating func chance(_ probability: Double) -> Bool { uniform() < probability }

    mutating func integer(_ range: ClosedRange<Int>) -> Int { range.lowerBound + Int(next() % UInt64(range.count)) }

    /// Normal values.
    mutating func tensor(_ shape: [Int], _ dtype: DType, scale: Double = 1, around mean: Double = 0) throws(OperatorError) -> HostTensor {
        let values = (0..<shape.reduce(1, *)).map { _ in mean + scale * normal() }
        return try CPUReference.tensor("random", values, dtype, shape)
    }
}
