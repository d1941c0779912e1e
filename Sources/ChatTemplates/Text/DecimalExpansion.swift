/// A double as exact decimal digits, rounded half to even at a given place as Python's `round` and `%.2f` do.
struct DecimalExpansion {
    /// Most places that are computed; more are refused, since only their zeros would differ.
    static let maximumPlaces = 400

    /// Digits before the point, without leading zeros except a single one.
    private(set) var whole: [UInt8]
    /// Exactly `places` digits behind it.
    private(set) var fraction: [UInt8]

    /// Rounds `value`, which must be finite, to `places` digits behind the point; its sign is left aside.
    init(_ value: Double, places: Int) {
        var mantissa = BigNatural(value.significandBitPattern | (value.isNormal ? 1 << 52 : 0))
        let exponent = Int(value.isNormal ? value.exponentBitPattern : 1) - 1075
        if value.isZero { mantissa = BigNatural(0) }
        if exponent >= 0 {
            mantissa.shiftLeft(exponent)
            whole = mantissa.decimalDigits
            fraction = [UInt8](repeating: 0, count: places)
            return
        }
        var rest = mantissa
        let units = rest.removeBits(above: -exponent)
        var digits: [UInt8] = []
        for _ in 0..<places {
            rest.multiply(by: 10)
            digits.append(UInt8(truncatingIfNeeded: rest.removeBits(above: -exponent).low))
        }
        whole = units.decimalDigits
        fraction = digits
        // What is left, against one half of the last place.
        let half = rest.compareToHalf(bits: -exponent)
        let lastIsOdd = (digits.last ?? whole.last ?? 0) % 2 == 1
        if half > 0 || (half == 0 && lastIsOdd) { increment() }
    }

    private mutating func increment() {
        for index in fraction.indices.reversed() {
            if fraction[index] < 9 {
                fraction[index] += 1
                return
            }
            fraction[index] = 0
        }
        for index in whole.indices.reversed() {
            if whole[index] < 9 {
                whole[index] += 1
                return
            }
            whole[index] = 0
        }
        whole.insert(1, at: 0)
    }

    var text: String {
        let bytes = whole.map { $0 + 0x30 } + (fraction.isEmpty ? [] : [UInt8(ascii: ".")]) + fraction.map { $0 + 0x30 }
        return String(utf8Bytes: bytes)
    }
}

/// Just enough of a big natural number: base 2^32, least limb first.
private struct BigNatural {
    private var limbs: [UInt32]

    init(_ value: UInt64) { limbs = [UInt32(truncatingIfNeeded: value), UInt32(truncatingIfNeeded: value >> 32)] }

    /// The lowest 32 bits.
    var low: UInt32 { limbs.first ?? 0 }

    mutating func shiftLeft(_ count: Int) {
        let bits = UInt64(count % 32)
        var carry: UInt64 = 0
        for index in limbs.indices {
            let shifted = UInt64(limbs[index]) << bits | carry
            limbs[index] = UInt32(truncatingIfNeeded: shifted)
            carry = shifted >> 32
        }
        limbs.append(UInt32(truncatingIfNeeded: carry))
        limbs.insert(contentsOf: [UInt32](repeating: 0, count: count / 32), at: 0)
    }

    mutating func multiply(by factor: UInt32) {
        var carry: UInt64 = 0
        for index in limbs.indices {
            let product = UInt64(limbs[index]) * UInt64(factor) + carry
            limbs[index] = UInt32(truncatingIfNeeded: product)
            carry = product >> 32
        }
        if carry > 0 { limbs.append(UInt32(carry)) }
    }

    /// Cuts off and returns everything from bit `count` on.
    mutating func removeBits(above count: Int) -> BigNatural {
        var high = BigNatural(0)
        high.limbs = []
        let (limb, bit) = (count / 32, UInt64(count % 32))
        var index = limb
        while index < limbs.count {
            let next = index + 1 < limbs.count ? UInt64(limbs[index + 1]) : 0
            high.limbs.append(UInt32(truncatingIfNeeded: (UInt64(limbs[index]) | next << 32) >> bit))
            index += 1
        }
        if limb < limbs.count {
            limbs[limb] &= UInt32(truncatingIfNeeded: (UInt64(1) << bit) - 1)
            limbs.removeSubrange((limb + 1)...)
        }
        return high
    }

    /// Compares with 2^(bits - 1): negative, zero or positive.
    func compareToHalf(bits: Int) -> Int {
        guard bits > 0 else { return -1 }
        let (limb, bit) = ((bits - 1) / 32, UInt32((bits - 1) % 32))
        guard limb < limbs.count, limbs[limb] >> bit & 1 == 1 else { return -1 }
        let rest = limbs[limb] & ((1 << bit) - 1)
        return rest == 0 && limbs[..<limb].allSatisfy { $0 == 0 } ? 0 : 1
    }

    var decimalDigits: [UInt8] {
        var rest = limbs
        var digits: [UInt8] = []
        while rest.contains(where: { $0 != 0 }) {
            var remainder: UInt64 = 0
            for index in rest.indices.reversed() {
                let value = remainder << 32 | UInt64(rest[index])
                rest[index] = UInt32(value / 10)
                remainder = value % 10
            }
            digits.append(UInt8(remainder))
            while rest.last == 0 { rest.removeLast() }
        }
        return digits.isEmpty ? [0] : digits.reversed()
    }
}
