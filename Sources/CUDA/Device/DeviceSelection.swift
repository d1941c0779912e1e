/// Where work shall run, as the `--device` of the command line says it: auto, cpu, cuda or cuda:N.
public enum DeviceSelection: Sendable, Hashable, CustomStringConvertible {
    /// The first GPU that the kernels run on, or the CPU when there is none.
    case automatic
    case cpu
    /// The GPU at a position; failing that, an error.
    case cuda(Int)

    /// Reads "auto", "cpu", "cuda" or "cuda:N".
    public init(_ text: String) throws(CUDAError) {
        switch text {
        case "auto": self = .automatic
        case "cpu": self = .cpu
        case "cuda": self = .cuda(0)
        default:
            let digits = text.dropFirst("cuda:".count)
            guard text.hasPrefix("cuda:"), digits.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let ordinal = Int(digits), ordinal < 1024
            else {
                throw CUDAError(.deviceName, "\"\(text)\" is no device: expected auto, cpu, cuda or cuda:N with N from 0 up")
            }
            self = .cuda(ordinal)
        }
    }

    public var description: String {
        switch self {
        case .automatic: "auto"
        case .cpu: "cpu"
        case .cuda(let ordinal): "cuda:\(ordinal)"
        }
    }

    /// The GPU to use, or nil for the CPU.
    ///
    /// `auto` never throws: a machine without a driver, without a GPU or with GPUs that are too old means the CPU. To learn why, ask
    /// ``Driver/shared()``. A GPU asked for by number that is not there, or is too old, is an error.
    public func resolve() throws(CUDAError) -> Device? {
        switch self {
        case .cpu: return nil
        case .cuda(let ordinal): return try Self.resolve(ordinal, driver: .shared())
        case .automatic:
            guard let driver = try? Driver.shared() else { return nil }
            return Self.firstSupported(driver: driver)
        }
    }

    package static func resolve(_ ordinal: Int, driver: Driver) throws(CUDAError) -> Device {
        let device = try Device(ordinal: ordinal, driver: driver)
        try device.requireSupport()
        return device
    }

    package static func firstSupported(driver: Driver) -> Device? {
        (try? Device.all(driver: driver))?.first { $0.isSupported }
    }
}
