import Apus
import ArgumentParser
import Benchmarking
import CUDA
import Foundation
import ModelHub
import Transformer

struct BenchDecodeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "decode", abstract: "Greedy decoding of one sequence at several lengths of its context.",
        discussion: """
            Without a model the preset with seeded random weights, in a temporary folder or in --workspace. Each context is filled with tokens, then \
            --steps further ones are timed from the arrival of the first to that of the last. GB/s counts weights and cache; their share is that of \
            the rate at which a kernel that does nothing else reads the GPU's memory, measured in the same run. Power comes from further runs of \
            half a second, by the GPU's counter of energy. With --speculate the same model goes on behind a text that repeats itself, with guesses and \
            without; another token is an exit status of 1. --rival measures a CUDA graph of small kernels beside the resident kernel, --ablation that \
            kernel with each of its techniques changed alone. --peer runs a command that prints one JSON object a line with name, context and \
            samples_us, such as Benchmarks/peers/torch_decode.py, on the same GPU.
            """)

    @OptionGroup var model: DecoderArguments

    @Option(help: "Lengths of the context, separated by commas; those of 1, 200, 500, 1900, 8192 and 32768 that the model has, when left out.")
    var contexts: String?

    @Option(help: "Timed tokens of a run.")
    var steps: Int = 96

    @Option(help: "Counted runs.")
    var runs: Int = 5

    @Option(help: "The shape of a published model, for random weights.")
    var preset: String = Self.usualPreset

    @Option(help: "Where the folder with random weights is kept; a temporary folder, removed at the end, when left out.")
    var workspace: String?

    @Option(help: "Measure too what guessing so many tokens a step (--speculate of generate) gains behind a text that repeats itself.")
    var speculate: Int?

    @Flag(name: .customLong("no-power"), help: "Leave out the runs whose power is measured.")
    var skipsPower = false

    @Option(help: "A command of a peer to run beside, such as 'python3 Benchmarks/peers/torch_decode.py'.")
    var peer: [String] = []

    @Flag(help: "Measure a CUDA graph of small kernels with programmatic edges on the same weights, beside the resident kernel.")
    var rival = false

    @Flag(help: "Measure the resident kernel with each of its techniques changed alone.")
    var ablation = false

    @OptionGroup var reports: ReportArguments

    private func parsedContexts() throws -> [Int]? {
        try contexts.map { text in
            let lengths = text.split(separator: ",").map { Int($0) ?? 0 }
            guard !lengths.isEmpty, lengths.allSatisfy({ $0 >= 1 }) else {
                throw ValidationError("--contexts is '\(text)', expected numbers from 1 up")
            }
            return lengths
        }
    }

    private static let usualPreset = "qwen3-0.6b"

    func validate() throws {
        if let model = model.model { try RandomModels.refuse(preset == Self.usualPreset ? nil : preset, workspace, beside: model) }
        _ = try parsedContexts()
        if let speculate, !(1...GenerationOptions.largestPromptLookup ~= speculate) {
            throw ValidationError("--speculate is \(speculate), expected 1 to \(GenerationOptions.largestPromptLookup)")
        }
        guard steps >= 1, runs >= 1 else { throw ValidationError("--steps and --runs must be at least 1") }
        _ = try Preset.required(preset)
    }

    func run() async throws {
        // A file that cannot be compared with is found before the GPU works.
        let baseline = try reports.baseline()
        // The memory that the model takes is counted from here on.
        let context = try model.options.device.resolve().map { try Context($0) }
        let free = try context?.memory().free
        let loaded = try await load()
        let device = loaded.executor as? CUDAExecutor
        let benchmark = DecodeBenchmark(loaded.executor, steps: steps)
        let lengths = try parsedContexts() ?? benchmark.fitting(DecodeBenchmark.contexts)
        let text = DecodeReport(
            readRate: try device.map { try ReadProbe($0.context).bytesPerSecond() },
            exchange: try device.flatMap { executor in
                try executor.decodeBlocks().map { try ExchangeProbe(executor.context, blocks: $0).seconds() }
            })
        let output = Output.standard
        let way = loaded.executor.decodeForm?.isResident == true ? DecodeMode.resident : .layers
        let mode = way.rawValue + (device?.decodeWeightBits == 8 ? ", fp8 weights" : "") + (device?.cacheFormat == .float8 ? ", fp8 cache" : "")
        try output.writeLine("\(loaded.name) on \(loaded.executor.deviceDescription), decode \(mode), \(steps) tokens, median of \(runs)")
        if let line = text.readLine { try output.writeLine(line) }
        if let line = text.exchangeLine { try output.writeLine(line) }
        try output.writeLine(DecodeReport.header)
        let watch = try skipsPower ? nil : device.flatMap { try GPUWatch($0.context) }
        var rows: [DecodeBenchmark.Row] = []
        var cache = 0
        for context in lengths {
            let row = try benchmark.row(context: context, runs: runs, watch: watch) { cache = max(cache, $0) }
            for line in text.lines(row) { try output.writeLine(line) }
            try output.flush()
            rows.append(row)
        }
        var remarks: [String] = []
        var differences = 0
        if let speculate {
            let speculation = SpeculationBenchmark(try Generator(model: loaded), steps: steps)
            for context in lengths {
                let row = try speculation.row(context: context, guesses: speculate, runs: runs)
                differences += row.differences
                remarks.append(DecodeReport.line(row))
                try output.writeLine(remarks[remarks.count - 1])
                try output.flush()
            }
        }
        let memory = try free.flatMap { try benchmark.memory(freeBefore: $0, cache: cache, longest: lengths.max() ?? 1) }
        if let memory { try output.writeLine(DecodeBenchmark.text(memory)) }
        var forms: [DecodeBenchmark.FormRow] = []
        func take(_ form: DecodeBenchmark.FormRow) throws {
            if let line = text.line(form, rows: rows) { try output.writeLine(line) }
            try output.flush()
            forms.append(form)
        }
        if rival {
            let found = try lengths.compactMap { try benchmark.rival(context: $0, runs: runs) }
            for form in found { try take(form) }
            if found.isEmpty {
                try output.writeLine("no graph of small kernels: it computes models of the Qwen3 kind in bf16, beside the resident kernel")
            }
        }
        if ablation { _ = try benchmark.ablation(contexts: lengths, runs: runs, each: take) }
        let peers = try peer.flatMap { try PeerCommand(commandLine: $0).decodeFigures(contexts: lengths) }
        for line in peers.compactMap({ text.line($0, rows: rows) }) { try output.writeLine(line) }
        let report = try benchmark.report(
            rows, forms: forms, peers: peers, readRate: text.readRate?.median,
            remarks: [text.readLine, text.exchangeLine, memory.map(DecodeBenchmark.text)].compactMap { $0 } + remarks,
            title: "\(model.model ?? preset), decode \(mode)",
            command: CommandLine.arguments.joined(separator: " "), version: reports.version, date: ReportArguments.now)
        try reports.write(report)
        if let baseline { try output.write("\n" + BenchmarkComparison(baseline: baseline, present: report).text) }
        try output.close()
        // A gain by another text is none.
        if differences > 0 { throw ExitCode(1) }
    }

    private func load() async throws -> LoadedModel {
        if model.model != nil { return try await model.load(default: .text) }
        let models = RandomModels(workspace: workspace)
        defer { models.remove() }
        // Its tokenizer has few of the ids that random weights choose, and the kernel chooses among all or leaves it to the host.
        return try LoadedModel(folder: .init(path: models.path(of: .required(preset))), options: model.options).withoutTokenizer()
    }
}
