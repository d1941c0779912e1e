public import Tensors

/// An 8-bit floating-point format.
public enum Float8Format: String, Sendable, Hashable, CaseIterable {
    /// Four bits of exponent, three of mantissa: up to 448, without infinities. For weights and activations.
    case e4m3
    /// Five bits of exponent, two of mantissa: up to 57344. For gradients, and for values of wide range.
    case e5m2

    public var dtype: DType { self == .e4m3 ? .float8E4M3 : .float8E5M2 }
    /// The largest finite value.
    public var maximum: Float { self == .e4m3 ? 448 : 57344 }

    /// The largest magnitude that rounds to a finite value.
    var roundingLimit: Float { self == .e4m3 ? 464 : Float(61440).nextDown }

    init?(_ dtype: DType) {
        switch dtype {
        case .float8E4M3: self = .e4m3
        case .float8E5M2: self = .e5m2
        default: return nil
        }
    }
}

/// What a scale belongs to. A tensor [..., C] has the product of its leading dimensions as rows, and C columns.
public enum QuantizationGranularity: String, Sendable, Hashable, CaseIterable {
    case tensor
    case row
    case column

    /// As the kernels count.
    var kernelNumber: Int {
        switch self {
        case .tensor: 0
        case .row: 1
        case .column: 2
        }
    }
}

/// What becomes of values beyond the format's largest.
public enum Float8Overflow: String, Sendable, Hashable, CaseIterable {
    /// They become the largest finite value.
    case saturate
    /// E4M3: they become NaN. E5M2: infinity.
    case propagate
}

/// A tensor of 8-bit codes with the scales that give the values back: value = code * scale.
public struct Quantized<Tensor: Sendable>: Sendable {
    /// [..., C], float8.
    public var codes: Tensor
    /// fp32: [1], [rows] or [C].
    public var scales: Tensor
    public var granularity: QuantizationGranularity

    public init(codes: Tensor, scales: Tensor, granularity: QuantizationGranularity) {
        self.codes = codes
        self.scales = scales
        self.granularity = granularity
    }
}
