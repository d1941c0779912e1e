/// A function that a gate or a product goes through.
public enum Activation: String, Sendable, Hashable, CaseIterable {
    /// x * sigmoid(x), also called swish.
    case silu
    /// x * (1 + erf(x / sqrt 2)) / 2: PyTorch's `gelu`.
    case geluErf = "gelu-erf"
    /// The approximation x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2: `gelu_pytorch_tanh` of Gemma's configurations.
    case geluTanh = "gelu-tanh"

    /// Reads the names that configurations and PyTorch use: silu, swish, gelu, gelu-erf, gelu-tanh, gelu_new, gelu_pytorch_tanh.
    public init(named name: String) throws(OperatorError) {
        switch name {
        case "silu", "swish": self = .silu
        case "gelu", "gelu-erf", "gelu_erf": self = .geluErf
        case "gelu-tanh", "gelu_tanh", "gelu_new", "gelu_pytorch_tanh": self = .geluTanh
        default:
            throw .argument(
                "activation", "the activation", expected: "one of silu, gelu-erf, gelu-tanh", actual: "\"\(name.prefix(40))\"")
        }
    }

    /// As the kernels count.
    package var kernelNumber: Int {
        switch self {
        case .silu: 1
        case .geluTanh: 2
        case .geluErf: 3
        }
    }
}
