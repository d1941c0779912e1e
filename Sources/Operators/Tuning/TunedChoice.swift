/// What a tuner found for one shape, with the times that spoke for it.
public struct TunedChoice: Sendable, Hashable {
    public let key: TuningKey
    public let values: [String: Int]
    /// Median seconds of a call with these values, and with what the operator chooses by itself, from the same minute.
    public let seconds: Double
    public let standardSeconds: Double

    public init(key: TuningKey, values: [String: Int], seconds: Double, standardSeconds: Double) {
        self.key = key
        self.values = values
        self.seconds = seconds
        self.standardSeconds = standardSeconds
    }
}

/// The machine and the kernel that a choice was found for: on any other it says nothing.
public struct TuningIdentity: Sendable, Hashable {
    /// The GPU's name.
    public let device: String
    public let computeCapability: String
    /// The driver's version, such as 580.65.06.
    public let driver: String
    /// The fingerprint of the kernel's source with all its headers.
    public let kernel: String

    public init(device: String, computeCapability: String, driver: String, kernel: String) {
        self.device = device
        self.computeCapability = computeCapability
        self.driver = driver
        self.kernel = kernel
    }
}
