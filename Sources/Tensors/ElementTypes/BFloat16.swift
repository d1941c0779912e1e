/// A 16-bit float with the exponent of a `Float` and eight bits of precision.
///
/// It is storage: widen it to compute. Widening is exact; narrowing rounds to nearest, ties to even.
public struct BFloat16: Sendable, BitwiseCopyable {
    public var bitPattern: UInt16

    public init(bitPattern: UInt16) {
        self.bitPattern = bitPattern
    }

    /// The nearest value to `value`, infinite where that is beyond the largest. A NaN stays a NaN, made quiet, with its sign and upper payload.
    public init(_ value: Float) {
        let bits = value.bitPattern
        if bits & 0x7FFF_FFFF > 0x7F80_0000 {
            // Adding the rounding bias could carry a NaN's payload into the sign, or lose all of it and leave an infinity.
            bitPattern = UInt16(truncatingIfNeeded: bits >> 16) | 0x0040
        } else {
            bitPattern = UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ (bits >> 16 & 1)) >> 16)
        }
    }

    public var isNaN: Bool { bitPattern & 0x7FFF > 0x7F80 }
}

extension Float {
    /// The same value: every `BFloat16` is a `Float`.
    public init(_ value: BFloat16) {
        self.init(bitPattern: UInt32(value.bitPattern) << 16)
    }
}

extension BFloat16: Equatable {
    /// Equal as numbers: the two zeros are equal, and a NaN equals nothing.
    public static func == (left: BFloat16, right: BFloat16) -> Bool { Float(left) == Float(right) }
}

extension BFloat16: CustomStringConvertible {
    public var description: String { Float(self).description }
}
