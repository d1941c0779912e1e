import Transformer

/// Rows that a cache of codes must round right: ordinary ones and those at the edges of the rule. All values are exact in bf16.
package enum CacheRowCases {
    /// Rows of `width` values, the same for the same seed.
    package static func rows(width: Int, seed: UInt64) -> [[Float]] {
        var rows = special(width)
        let numbers = RandomNumbers(seed: seed, stream: "cache rows")
        for index in 0..<200 {
            // From rows of one size to rows of many, around every power of two that keys and values have.
            let size = Float(sign: .plus, exponent: index % 40 - 20, significand: 1)
            rows.append(
                (0..<width).map { column in
                    let value = numbers.normal(index * width + column) * size
                    return rounded(index % 3 == 0 ? value * Float(sign: .plus, exponent: -(column % 17), significand: 1) : value)
                })
        }
        return rows
    }

    private static func special(_ width: Int) -> [[Float]] {
        func row(_ values: [Float]) -> [Float] { (0..<width).map { $0 < values.count ? values[$0] : 0 } }
        func filled(_ value: Float) -> [Float] { [Float](repeating: value, count: width) }
        var rows = [filled(0), filled(-0.0), row([.nan, 1, 2]), row([1, .infinity]), row([-.infinity]), row([1, -.nan])]
        // The largest code exactly, and the next number above it.
        for exponent in [-120, -20, -1, 0, 1, 7, 100, 118] {
            let scale = Float(sign: .plus, exponent: exponent, significand: 1)
            rows += [
                row([448 * scale, 1]), row([450 * scale, 1]), row([-448 * scale, 224 * scale]), row([256 * scale]), row([255 * scale, -3 * scale]),
            ]
        }
        // Every step of the subnormal codes and the ties between all codes of a binade, beside the largest.
        rows.append(row([448] + (0..<63).map { Float($0) / 1024 }))
        rows.append(row([448] + (0..<63).map { -Float(64 + $0) / 4 }))
        rows.append(row([256] + (0..<63).map { 8 + Float($0) / 4 }))
        // Numbers that are subnormal themselves, and the largest.
        rows += [filled(Float(bitPattern: 0x0001_0000)), row([Float(bitPattern: 0x007F_0000), Float(bitPattern: 0x0001_0000)])]
        rows += [filled(0x1p-126), row([0x1p-118, 0x1p-126]), row([0x1.8p127, 1]), row([0x1.Ep127, 0x1p119])]
        return rows
    }

    /// To bf16, to nearest even.
    private static func rounded(_ value: Float) -> Float {
        let bits = value.bitPattern
        return Float(bitPattern: (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF_0000)
    }
}
