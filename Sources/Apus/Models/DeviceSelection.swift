/// Where a model is to run.
public enum DeviceSelection: Sendable, Hashable, CustomStringConvertible {
    /// The first GPU that can run it, else the CPU.
    case automatic
    case cpu
    /// The GPU of this index, in the driver's order.
    case cuda(Int)

    /// Reads `auto`, `cpu`, `cuda` or `cuda:N`; nil for anything else.
    public init?(_ text: String) {
        switch text {
        case "auto": self = .automatic
        case "cpu": self = .cpu
        case "cuda": self = .cuda(0)
        default:
            guard text.hasPrefix("cuda:"), let index = Int(text.dropFirst(5)), index >= 0 else { return nil }
            self = .cuda(index)
        }
    }

    public var description: String {
        switch self {
        case .automatic: "auto"
        case .cpu: "cpu"
        case .cuda(let index): "cuda:\(index)"
        }
    }
}
