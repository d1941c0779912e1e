/// Counter-based random numbers, Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11).
///
/// Number n of a seed can be had without the ones before, on any machine: a sampler on a GPU draws the same.
package struct Philox: Sendable {
    let seed: UInt64

    package init(seed: UInt64) { self.seed = seed }

    /// The four words of counter `n`.
    package func words(_ n: UInt64) -> (UInt32, UInt32, UInt32, UInt32) {
        var counter = (UInt32(truncatingIfNeeded: n), UInt32(truncatingIfNeeded: n >> 32), UInt32(0), UInt32(0))
        var key = (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
        for _ in 0..<10 {
            let first = UInt64(0xD251_1F53) * UInt64(counter.0)
            let second = UInt64(0xCD9E_8D57) * UInt64(counter.2)
            counter = (
                UInt32(truncatingIfNeeded: second >> 32) ^ counter.1 ^ key.0, UInt32(truncatingIfNeeded: second),
                UInt32(truncatingIfNeeded: first >> 32) ^ counter.3 ^ key.1, UInt32(truncatingIfNeeded: first)
            )
            key = (key.0 &+ 0x9E37_79B9, key.1 &+ 0xBB67_AE85)
        }
        return counter
    }

    /// A number in [0, 1) with 53 random bits.
    package func uniform(_ n: UInt64) -> Double {
        let words = words(n)
        let bits = UInt64(words.0) << 21 | UInt64(words.1) >> 11
        return Double(bits) * 0x1p-53
    }
}
