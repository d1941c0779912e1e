/// An 8-bit float with four exponent bits and three of mantissa, the "fn" kind of the Open Compute Project: no infinity, one NaN per sign
/// (0x7F and 0xFF), the largest value 448, the smallest 2^-9.
///
/// It is storage: widen it to compute.
public struct Float8E4M3: Sendable, BitwiseCopyable {
    public var bitPattern: UInt8

    public static let greatestFiniteMagnitude = Float8E4M3(bitPattern: 0x7E)

    public init(bitPattern: UInt8) {
        self.bitPattern = bitPattern
    }

    /// The nearest value, ties to even, as PyTorch (2.13) and the GPU's own conversion have it: what is beyond 448, infinity too, becomes 448
    /// with its sign. NaN stays NaN.
    public init(_ value: Float) {
        self.init(saturating: value)
    }

    /// The nearest value, ties to even; what is beyond 448, infinity too, becomes 448 with its sign. NaN stays NaN.
    public init(saturating value: Float) {
        self.init(value, overflow: 0x7E)
    }

    /// The nearest value, ties to even; what rounds beyond 448, infinity too, becomes NaN. Older releases of PyTorch cast so.
    public init(nonSaturating value: Float) {
        self.init(value, overflow: 0x7F)
    }

    private init(_ value: Float, overflow: UInt8) {
        let sign = UInt8(truncatingIfNeeded: value.bitPattern >> 24) & 0x80
        if value.isNaN {
            bitPattern = sign | 0x7F
        } else {
            let code = Float8Rounding.code(of: value.magnitude, mantissaBits: 3, exponentBias: 7)
            bitPattern = sign | (code > 0x7E ? overflow : UInt8(truncatingIfNeeded: code))
        }
    }

    public var isNaN: Bool { bitPattern & 0x7F == 0x7F }
}

extension Float {
    /// The same value: every `Float8E4M3` is a `Float`.
    public init(_ value: Float8E4M3) {
        let magnitude = UInt32(value.bitPattern & 0x7F)
        let widened: Float =
            if magnitude == 0x7F {
                .nan
            } else if magnitude < 8 {
                Float(magnitude) * 0x1p-9
            } else {
                // The exponent's bias goes from 7 to 127, and the mantissa from 3 bits to 23.
                Float(bitPattern: (magnitude + (127 - 7) << 3) << 20)
            }
        self = value.bitPattern & 0x80 == 0 ? widened : -widened
    }
}

extension Float8E4M3: Equatable {
    /// Equal as numbers: the two zeros are equal, and a NaN equals nothing.
    public static func == (left: Float8E4M3, right: Float8E4M3) -> Bool { Float(left) == Float(right) }
}

extension Float8E4M3: CustomStringConvertible {
    public var description: String { Float(self).description }
}

/// The rounding that the 8-bit floats share.
enum Float8Rounding {
    /// The code, sign aside, of the nearest value in a format of `mantissaBits` and `exponentBias`, ties to even. It goes on beyond the
    /// format's largest code where the value does. `magnitude` must not be negative or NaN.
    static func code(of magnitude: Float, mantissaBits: UInt32, exponentBias: UInt32) -> UInt32 {
        let smallestNormal = Float(bitPattern: (127 + 1 - exponentBias) << 23)
        if magnitude < smallestNormal {
            // The subnormal values are the whole multiples of the smallest. The scaling is by a power of two and so exact.
            let steps = magnitude * Float(bitPattern: (127 - 1 + exponentBias + mantissaBits) << 23)
            return UInt32(steps.rounded(.toNearestOrEven))
        }
        let bits = magnitude.bitPattern
        let dropped = 23 - mantissaBits
        let rounded = bits + (1 << (dropped - 1) - 1) + (bits >> dropped & 1)
        return rounded >> dropped - (127 - exponentBias) << mantissaBits
    }
}
