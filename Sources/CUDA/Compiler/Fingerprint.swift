/// 128 bits that tell byte strings apart: a name for a cache entry, a check against damage. Its constants are digits of pi.
///
/// It guards against accidents, not against people: what is found under a name is compared with the whole key before it is used.
struct Fingerprint: Hashable, CustomStringConvertible {
    private let high: UInt64
    private let low: UInt64

    /// Two lanes of multiply and fold, eight bytes a step.
    init(_ bytes: some Sequence<UInt8>) {
        var high: UInt64 = 0x243F_6A88_85A3_08D3
        var low: UInt64 = 0x1319_8A2E_0370_7344
        var word: UInt64 = 0
        var count: UInt64 = 0
        func fold(_ state: inout UInt64, _ factor: UInt64) {
            let product = (state ^ word).multipliedFullWidth(by: factor)
            // The odd constant keeps a state of zero from staying there.
            state = (product.high ^ product.low) &+ (state &* 0x9E37_79B9_7F4A_7C15) &+ 0xA409_3822_299F_31D1
        }
        for byte in bytes {
            word = word << 8 | UInt64(byte)
            count &+= 1
            if count % 8 == 0 {
                fold(&high, 0x082E_FA98_EC4E_6C89)
                fold(&low, 0x4528_21E6_38D0_1377)
                word = 0
            }
        }
        // The count tells a tail of zeros from none.
        fold(&high, 0x082E_FA98_EC4E_6C89)
        fold(&low, 0x4528_21E6_38D0_1377)
        word = count
        fold(&high, 0xC0AC_29B7_C97C_50DD)
        fold(&low, 0x3F84_D5B5_B547_0917)
        self.high = high
        self.low = low
    }

    var bytes: [UInt8] { Self.bytes(of: high) + Self.bytes(of: low) }

    /// 32 hexadecimal digits.
    var description: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// Eight bytes, the lowest first.
    static func bytes(of value: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
    }
}
