public import Apus
public import ArgumentParser
public import CUDA
public import Operators
public import Transformer

/// Which model; commands that read no weights take nothing else of it.
struct ModelName: ParsableArguments {
    @Argument(help: "A model folder or hub name; when left out the bundled demonstration model, of bench decode the preset.")
    var model: String?
}

/// Which model, and how it is computed: what every command that loads one takes.
struct ModelArguments: ParsableArguments {
    @OptionGroup var name: ModelName

    @OptionGroup var device: DeviceArguments

    @OptionGroup var processor: ProcessorArguments

    @Option(help: "What a Hopper GPU multiplies in prefill and embedding: bf16 or fp8 (faster, less exact).")
    var precision: MatrixPrecision = .bfloat16

    var model: String? { name.model }

    var options: ModelOptions {
        var options = device.options
        options.threads = processor.threads
        options.cpuPrecision = processor.cpuPrecision
        options.precision = precision
        return options
    }

    /// The first option, but for the device and its kernels, that differs from what it is when left out.
    fileprivate var changed: String? {
        precision != .bfloat16 ? "--precision" : processor.changed ?? (device.fusion == nil ? nil : "--fusion")
    }
}

/// ``ModelArguments`` of a command that goes on token by token.
struct DecoderArguments: ParsableArguments {
    @OptionGroup var base: ModelArguments

    @OptionGroup(title: "Options of decoding") var decoding: DecodingArguments

    var model: String? { base.model }
    var device: DeviceArguments { base.device }

    var options: ModelOptions {
        var options = base.options
        options.decoding = decoding.decode
        options.decodeWeights = decoding.decodeWeights
        options.cacheFormat = decoding.kvCache
        return options
    }

    /// The first option, but for the device and its kernels, that differs from what it is when left out.
    var changed: String? { base.changed ?? decoding.changed }

    func validate() throws {
        if device.device == .cpu, let changed = decoding.changedOfGPU { throw ValidationError("\(changed) is about a GPU; leave --device cpu out") }
    }
}

/// Where it runs.
struct DeviceArguments: ParsableArguments {
    @Option(help: "auto, cpu, cuda or cuda:N.")
    var device: DeviceSelection = .automatic

    @Option(
        name: [.customLong("kernel-path"), .customLong("path")],
        help: "Kernels of the GPU: automatic, hopper (compute capability 9.0 only) or generic (8.0 and newer).")
    var kernels: KernelPath = .automatic

    @Option(
        help: ArgumentHelp(
            "What the GPU's products do of the norms: none, heads or full; full for embedding models when left out.", visibility: .hidden))
    var fusion: PrefillFusion?

    var options: ModelOptions {
        var options = ModelOptions(device: device, kernels: kernels)
        options.fusion = fusion
        return options
    }

    /// The first option that differs from what it is when left out.
    var changed: String? { device != .automatic ? "--device" : kernels != .automatic ? "--kernel-path" : fusion != nil ? "--fusion" : nil }
}

/// How many of the CPU's threads work.
struct ThreadArguments: ParsableArguments {
    @Option(help: "CPU threads; one a processor when left out.")
    var threads: Int?

    func validate() throws {
        if let threads, threads < 1 || threads > 1024 { throw ValidationError("--threads is \(threads), expected 1 to 1024") }
    }
}

/// How the CPU computes.
struct ProcessorArguments: ParsableArguments {
    @OptionGroup var pool: ThreadArguments

    @Option(
        help: """
            What the CPU multiplies with bf16 weights in prompts and texts: fp32 activations as they are, or rounded to bf16 (faster with AVX-512 BF16; \
            no difference elsewhere).
            """)
    var cpuPrecision: CPUPrecision = .fp32

    var threads: Int? { pool.threads }

    fileprivate var changed: String? { threads != nil ? "--threads" : cpuPrecision != .fp32 ? "--cpu-precision" : nil }
}

/// How one token after the other is computed.
struct DecodingArguments: ParsableArguments {
    @Option(
        help: """
            How a GPU computes single tokens: resident (one kernel, which needs the weights twice), layers (operation by operation) or automatic: \
            resident where the kernel computes the model and the memory suffices.
            """)
    var decode: DecodeMode = .automatic

    @Option(help: "Weights that the resident kernel reads: bf16 or fp8 (E4M3, a factor a row; less exact).")
    var decodeWeights: DecodeWeightFormat = .bfloat16

    @Option(
        help: """
            Keys and values of a text: bf16 or fp8 (E4M3, a power of two a head; less exact). On a GPU fp8 halves their memory; a CPU rounds alike and \
            keeps fp32, which saves nothing.
            """)
    var kvCache: KeyValueCacheFormat = .bfloat16

    func validate() throws {
        if decode == .layers, decodeWeights != .bfloat16 {
            throw ValidationError("--decode-weights \(decodeWeights.rawValue) is what the resident kernel reads; leave --decode layers out")
        }
    }

    fileprivate var changed: String? { changedOfGPU ?? (kvCache != .bfloat16 ? "--kv-cache" : nil) }

    fileprivate var changedOfGPU: String? { decode != .automatic ? "--decode" : decodeWeights != .bfloat16 ? "--decode-weights" : nil }
}

extension CPUPrecision: ExpressibleByArgument {}

extension DecodeMode: ExpressibleByArgument {}

extension DecodeWeightFormat: ExpressibleByArgument {}

extension KeyValueCacheFormat: ExpressibleByArgument {}

extension MatrixPrecision: ExpressibleByArgument {}

extension DeviceSelection: ExpressibleByArgument {
    public init?(argument: String) {
        guard let selection = try? DeviceSelection(argument) else { return nil }
        self = selection
    }
    public var defaultValueDescription: String { description }
}

extension KernelPath: ExpressibleByArgument {
    /// `all` is for verifications, which run on every path then.
    public init?(argument: String) { self.init(rawValue: argument == "all" ? Self.automatic.rawValue : argument) }
}

extension PrefillFusion: ExpressibleByArgument {}

extension ReplicaCount: ExpressibleByArgument {
    public init?(argument: String) { self.init(argument) }
    public var defaultValueDescription: String { description }
}
