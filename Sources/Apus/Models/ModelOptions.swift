public import CUDA

/// Where a model is to run: `auto`, `cpu`, `cuda` or `cuda:N`.
public typealias DeviceSelection = CUDA.DeviceSelection

/// How a model is to be found and loaded.
public struct ModelOptions: Sendable {
    public var device: DeviceSelection
    /// CPU threads; nil for one a processor.
    public var threads: Int?
    /// Whether a hub model that the cache lacks may be fetched (`HF_HUB_OFFLINE` forbids it too).
    public var allowsDownload: Bool

    public init(device: DeviceSelection = .automatic, threads: Int? = nil, allowsDownload: Bool = true) {
        self.device = device
        self.threads = threads
        self.allowsDownload = allowsDownload
    }
}
