/// Approximately normal numbers that depend on nothing but seed, stream and index, so that any slice can be made by any thread.
///
/// Each is the sum of four 16-bit uniforms out of one SplitMix64 output (Irwin-Hall): no library function whose last bit differs between
/// machines, and one multiplication chain a number.
package struct RandomNumbers: Sendable {
    private let key: UInt64

    package init(seed: UInt64, stream: String) {
        // FNV-1a over the stream's name keeps tensors apart.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in stream.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        key = Self.mix(seed &+ 0x9e37_79b9_7f4a_7c15) ^ hash
    }

    /// The number at `index`, of mean 0 and standard deviation 1, within ±3.47.
    @inline(__always)
    package func normal(_ index: Int) -> Float {
        let bits = Self.mix(key &+ UInt64(truncatingIfNeeded: index) &* 0x9e37_79b9_7f4a_7c15)
        let sum = Int32(bits & 0xffff) + Int32(bits >> 16 & 0xffff) + Int32(bits >> 32 & 0xffff) + Int32(bits >> 48)
        return Float(sum - 131_070) * Self.scale
    }

    /// 1 / sqrt(4 · (65536² − 1) / 12)
    private static let scale: Float = 1 / 37_837.227

    @inline(__always)
    private static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
