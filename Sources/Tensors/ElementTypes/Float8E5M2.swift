/// An 8-bit float with five exponent bits and two of mantissa: the upper byte of a `Float16`, infinities and NaNs included. The largest finite
/// value is 57344, the smallest 2^-16.
///
/// It is storage: widen it to compute.
public struct Float8E5M2: Sendable, BitwiseCopyable {
    public var bitPattern: UInt8

    public static let greatestFiniteMagnitude = Float8E5M2(bitPattern: 0x7B)

    public init(bitPattern: UInt8) {
        self.bitPattern = bitPattern
    }

    /// The nearest value, ties to even, as PyTorch has it: what rounds beyond 57344 becomes infinite. NaN stays NaN.
    public init(_ value: Float) {
        self.init(value, overflow: 0x7C)
    }

    /// The nearest value, ties to even; what is beyond 57344, infinity too, becomes 57344 with its sign. NaN stays NaN.
    public init(saturating value: Float) {
        self.init(value, overflow: 0x7B)
    }

    private init(_ value: Float, overflow: UInt8) {
        let sign = UInt8(truncatingIfNeeded: value.bitPattern >> 24) & 0x80
        if value.isNaN {
            bitPattern = sign | 0x7F
        } else {
            let code = Float8Rounding.code(of: value.magnitude, mantissaBits: 2, exponentBias: 15)
            bitPattern = sign | (code > 0x7B ? overflow : UInt8(truncatingIfNeeded: code))
        }
    }

    public var isNaN: Bool { bitPattern & 0x7F > 0x7C }

    public var isInfinite: Bool { bitPattern & 0x7F == 0x7C }
}

extension Float {
    /// The same value: every `Float8E5M2` is a `Float`.
    public init(_ value: Float8E5M2) {
        self.init(Float16(bitPattern: UInt16(value.bitPattern) << 8))
    }
}

extension Float8E5M2: Equatable {
    /// Equal as numbers: the two zeros are equal, and a NaN equals nothing.
    public static func == (left: Float8E5M2, right: Float8E5M2) -> Bool { Float(left) == Float(right) }
}

extension Float8E5M2: CustomStringConvertible {
    public var description: String { Float(self).description }
}
