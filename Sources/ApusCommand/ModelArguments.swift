public import Apus
public import ArgumentParser
public import CUDA
public import Operators
public import Transformer

/// Which model, and where it runs: the same words for every subcommand.
struct ModelArguments: ParsableArguments {
    @Argument(help: "A model folder or hub name; the bundled demonstration model when left out.")
    var model: String?

    @OptionGroup var device: DeviceArguments

    @Option(help: "What a Hopper GPU multiplies in prefill and embedding: bf16 or fp8 (faster, less exact).")
    var precision: MatrixPrecision = .bfloat16

    var options: ModelOptions {
        var options = device.options
        options.precision = precision
        return options
    }
}

struct DeviceArguments: ParsableArguments {
    @Option(help: "auto, cpu, cuda or cuda:N.")
    var device: DeviceSelection = .automatic

    @Option(
        name: [.customLong("kernel-path"), .customLong("path")],
        help: "Kernels of the GPU: automatic, hopper (compute capability 9.0 only) or generic (8.0 and newer).")
    var kernels: KernelPath = .automatic

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

    @Option(help: "CPU threads; one a processor when left out.")
    var threads: Int?

    @Option(
        help: """
            What the CPU multiplies with bf16 weights in prompts and texts: fp32 activations as they are, or rounded to bf16 (faster with AVX-512 BF16; \
            no difference elsewhere).
            """)
    var cpuPrecision: CPUPrecision = .fp32

    @Option(
        help: ArgumentHelp(
            "What the GPU's products do of the norms: none, heads or full; full for embedding models when left out.", visibility: .hidden))
    var fusion: PrefillFusion?

    var options: ModelOptions {
        var options = ModelOptions(device: device, kernels: kernels, decoding: decode, threads: threads, cpuPrecision: cpuPrecision)
        options.fusion = fusion
        options.decodeWeights = decodeWeights
        options.cacheFormat = kvCache
        return options
    }

    func validate() throws {
        if let threads, threads < 1 || threads > 1024 { throw ValidationError("--threads is \(threads), expected 1 to 1024") }
    }
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

/// Whether tokens are guessed ahead.
struct SpeculationArguments: ParsableArguments {
    @Option(
        help: """
            Guess up to this many tokens a step from how the text went on before (prompt lookup) and keep those that the model chooses too: the same \
            text, sooner where it repeats itself. 1 to \(GenerationOptions.largestPromptLookup); a GPU's resident kernel guesses three at most, and only \
            where the likeliest token is taken.
            """)
    var speculate: Int = 0

    func validate() throws {
        guard 0...GenerationOptions.largestPromptLookup ~= speculate else {
            throw ValidationError("--speculate is \(speculate), expected 0 to \(GenerationOptions.largestPromptLookup)")
        }
    }
}

/// How tokens are chosen; what is left out comes from the model's generation_config.json.
struct SamplingArguments: ParsableArguments {
    @Option(help: "0 takes the likeliest token, 1 samples as the model says.")
    var temperature: Float?

    @Option(help: "Sample among the K likeliest tokens.")
    var topK: Int?

    @Option(help: "Sample among the likeliest tokens whose probabilities reach P together.")
    var topP: Float?

    @Option(help: "Drop tokens less likely than P times the likeliest.")
    var minP: Float?

    @Option(help: "Divide the logits of tokens that came up before; 1 for none.")
    var repetitionPenalty: Float?

    @Option(help: "Subtract from the logits of tokens generated before.")
    var presencePenalty: Float?

    @Option(help: "Subtract from the logits of tokens generated before, for each time.")
    var frequencyPenalty: Float?

    @Option(help: "Seed of the random choice; the same seed gives the same text.")
    var seed: UInt64?

    func apply(to defaults: SamplingParameters) -> SamplingParameters {
        var parameters = defaults
        if let temperature { parameters.temperature = temperature }
        if let topK { parameters.topK = topK }
        if let topP { parameters.topP = topP }
        if let minP { parameters.minP = minP }
        if let repetitionPenalty { parameters.repetitionPenalty = repetitionPenalty }
        if let presencePenalty { parameters.presencePenalty = presencePenalty }
        if let frequencyPenalty { parameters.frequencyPenalty = frequencyPenalty }
        if let seed { parameters.seed = seed }
        return parameters
    }
}
