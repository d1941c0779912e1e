/// Hashes of byte strings and of pairs of ids, seeded so that no file can be made to collide.
struct ByteHash: Sendable {
    private let seed = UInt64.random(in: .min ... .max)
    private static let multiplier: UInt64 = 0x9E37_79B9_7F4A_7C15

    @inline(__always)
    private static func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let product = a.multipliedFullWidth(by: b)
        return product.high ^ product.low
    }

    @inline(__always)
    func callAsFunction(_ bytes: [UInt8], _ range: Range<Int>) -> UInt64 {
        var hash = seed ^ UInt64(truncatingIfNeeded: range.count) &* Self.multiplier
        let span = bytes.span.bytes
        var index = range.lowerBound
        // Both loads are checked against the span's bounds; any bits make a UInt64.
        while index + 8 <= range.upperBound {
            hash = Self.mix(hash ^ span.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self), Self.multiplier)
            index += 8
        }
        var rest: UInt64 = 0
        while index < range.upperBound {
            rest = rest << 8 | UInt64(bytes[index])
            index += 1
        }
        return Self.mix(hash ^ rest, Self.multiplier ^ seed)
    }

    @inline(__always)
    func callAsFunction(_ pair: UInt64) -> UInt64 { Self.mix(pair ^ seed, Self.multiplier) }
}
