public import CUDA
public import Operators
public import Transformer

/// Where a model is to run: `auto`, `cpu`, `cuda` or `cuda:N`.
public typealias DeviceSelection = CUDA.DeviceSelection

/// Which kernels a GPU uses: `automatic`, `hopper` or `generic`.
public typealias KernelPath = Operators.KernelPath

/// What the resident decode kernel's matrices lie in: `bf16` or `fp8`.
public typealias DecodeWeightFormat = Transformer.DecodeWeightFormat

/// What the keys and values of a sequence lie in: `bf16` or `fp8`.
public typealias KeyValueCacheFormat = Transformer.KeyValueCacheFormat

/// What the products of a model's layers multiply on a GPU: `bf16` or `fp8`.
public typealias MatrixPrecision = Transformer.MatrixPrecision

/// How a model is to be found and loaded.
public struct ModelOptions: Sendable {
    public var device: DeviceSelection
    /// GPUs that hold a copy of the model each, from ``device`` on: what is many, such as texts to embed, is spread over them.
    public var replicas: ReplicaCount
    /// Which kernels a GPU uses.
    public var kernels: KernelPath
    /// How a GPU computes single tokens.
    public var decoding: DecodeMode
    /// What the kernel of ``DecodeMode/resident`` reads; `fp8` is nothing for other ways of decoding.
    public var decodeWeights = DecodeWeightFormat.bfloat16
    /// What the keys and values of a text lie in; `fp8` takes half the memory on a GPU, and the same rounding without the gain on a CPU.
    public var cacheFormat = KeyValueCacheFormat.bfloat16
    /// What the large products multiply on a GPU.
    public var precision: MatrixPrecision
    /// What Hopper's products do of the norms, for measuring; ``PrefillFusion/preferred(for:precision:)`` for embedding models when nil.
    package var fusion: PrefillFusion?
    /// Whether vectors will be asked for: what they take is made ready while the model is loaded.
    package var preparesVectors = false
    /// CPU threads; nil for one a processor.
    public var threads: Int?
    /// What a CPU multiplies with bf16 weights.
    public var cpuPrecision: CPUPrecision
    /// Whether a hub model that the cache lacks may be fetched (`HF_HUB_OFFLINE` forbids it too).
    public var allowsDownload: Bool

    public init(
        device: DeviceSelection = .automatic, replicas: ReplicaCount = .count(1), kernels: KernelPath = .automatic,
        decoding: DecodeMode = .automatic, precision: MatrixPrecision = .bfloat16, threads: Int? = nil, cpuPrecision: CPUPrecision = .fp32,
        allowsDownload: Bool = true
    ) {
        self.device = device
        self.replicas = replicas
        self.kernels = kernels
        self.decoding = decoding
        self.precision = precision
        self.threads = threads
        self.cpuPrecision = cpuPrecision
        self.allowsDownload = allowsDownload
    }
}

/// How many GPUs hold a copy of a model.
public enum ReplicaCount: Sendable, Hashable, CustomStringConvertible {
    case count(Int)
    /// Every GPU that the kernels run on.
    case all

    /// Reads "all" or a number from 1 up.
    public init?(_ text: String) {
        if text == "all" {
            self = .all
        } else if let count = Int(text), count >= 1 {
            self = .count(count)
        } else {
            return nil
        }
    }

    public var description: String {
        switch self {
        case .count(let count): "\(count)"
        case .all: "all"
        }
    }
}
