extension [UInt8] {
    /// The scalar whose first byte is at `index` and the index behind it. The bytes must be valid UTF-8.
    @inline(__always)
    func scalar(at index: Int) -> (value: UInt32, next: Int) {
        let first = self[index]
        if first < 0x80 { return (UInt32(first), index + 1) }
        if first < 0xE0 { return (UInt32(first & 0x1F) << 6 | UInt32(self[index + 1] & 0x3F), index + 2) }
        if first < 0xF0 {
            return (UInt32(first & 0x0F) << 12 | UInt32(self[index + 1] & 0x3F) << 6 | UInt32(self[index + 2] & 0x3F), index + 3)
        }
        let high = UInt32(first & 0x07) << 18 | UInt32(self[index + 1] & 0x3F) << 12
        return (high | UInt32(self[index + 2] & 0x3F) << 6 | UInt32(self[index + 3] & 0x3F), index + 4)
    }

    /// The scalar that ends before `index`, and where it starts. The bytes must be valid UTF-8 and `index` above 0.
    @inline(__always)
    func scalar(before index: Int) -> (value: UInt32, start: Int) {
        var start = index - 1
        while self[start] & 0xC0 == 0x80 { start -= 1 }
        return (scalar(at: start).value, start)
    }

    mutating func append(scalar: UInt32) {
        switch scalar {
        case ..<0x80:
            append(UInt8(truncatingIfNeeded: scalar))
        case ..<0x800:
            append(UInt8(truncatingIfNeeded: 0xC0 | scalar >> 6))
            append(UInt8(truncatingIfNeeded: 0x80 | scalar & 0x3F))
        case ..<0x10000:
            append(UInt8(truncatingIfNeeded: 0xE0 | scalar >> 12))
            append(UInt8(truncatingIfNeeded: 0x80 | scalar >> 6 & 0x3F))
            append(UInt8(truncatingIfNeeded: 0x80 | scalar & 0x3F))
        default:
            append(UInt8(truncatingIfNeeded: 0xF0 | scalar >> 18))
            append(UInt8(truncatingIfNeeded: 0x80 | scalar >> 12 & 0x3F))
            append(UInt8(truncatingIfNeeded: 0x80 | scalar >> 6 & 0x3F))
            append(UInt8(truncatingIfNeeded: 0x80 | scalar & 0x3F))
        }
    }
}

/// The length in bytes of a scalar whose UTF-8 starts with `first`.
@inline(__always)
func scalarLength(_ first: UInt8) -> Int { first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4 }
