import Apus
import ArgumentParser
import Benchmarking
import CUDA
import Foundation
import ModelHub
import Transformer

struct BenchEmbedCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "embed", abstract: "An encoder's forward pass on a GPU at fixed shapes, beside what the GPU can do.",
        discussion: """
            Without a model it is the harrier-270m preset with seeded random weights, written to a temporary folder. MFU is the share of the GPU's bf16 \
            rate on paper: by the work that the model asks for, and as the published benchmark counts it (no window). --peer runs a command that \
            prints one JSON object a line with name, shape and ms, such as Benchmarks/peers/torch_embed.py, on the same GPU.
            """)

    @Argument(help: "A model folder or hub name; random weights of the preset when left out.")
    var model: String?

    @OptionGroup var device: DeviceArguments

    @Option(help: "Shapes as LENGTHxTEXTS, separated by commas.")
    var shapes: String = EmbedBenchmark.Shape.published.map(\.description).joined(separator: ",")

    @Option(help: "The shape of a published model, for random weights.")
    var preset: String = Self.usualPreset

    @Option(help: "Counted batches of each shape.")
    var runs: Int = 30

    @Option(help: "Rows that pass through all layers together; the executor's own choice when left out.")
    var groupRows: Int?

    @Option(help: "Where the folder with random weights is kept; a temporary folder, removed at the end, when left out.")
    var workspace: String?

    @Option(help: "bf16 or fp8; may be given more than once. Both, where the GPU has both, when left out.")
    var precision: [MatrixPrecision] = []

    @Flag(help: "Measure the start too, with an empty cache of kernels and with a full one.")
    var coldStart = false

    @Flag(help: "Show what each kind of kernel takes.")
    var profile = false

    @Option(help: "A command of a peer to run beside, such as 'python3 Benchmarks/peers/torch_embed.py'.")
    var peer: [String] = []

    @OptionGroup var reports: ReportArguments

    private static let usualPreset = "harrier-270m"

    func validate() throws {
        if let model { try RandomModels.refuse(preset == Self.usualPreset ? nil : preset, workspace, beside: model) }
        if runs < 1 { throw ValidationError("--runs must be at least 1") }
        _ = try Preset.required(preset)
        _ = try parsedShapes()
    }

    private func parsedShapes() throws -> [EmbedBenchmark.Shape] {
        try shapes.split(separator: ",").map { text in
            guard let shape = EmbedBenchmark.Shape(String(text)) else {
                throw ValidationError("'\(text)' is no shape: expected LENGTHxTEXTS, such as 512x16")
            }
            return shape
        }
    }

    func run() async throws {
        // A file that cannot be compared with is found before the GPU works.
        let baseline = try reports.baseline()
        let clock = ContinuousClock()
        let models = RandomModels(workspace: workspace)
        defer { models.remove() }
        let modelFolder = try await modelFolder(models)
        let opened = clock.now
        var precisions = precision.isEmpty ? [.bfloat16] : precision
        let loaded = try load(modelFolder, precisions[0])
        guard let executor = loaded.executor as? CUDAExecutor else {
            throw ValidationError("bench embed measures a GPU, and there is none to use here; bench cpu measures the CPU")
        }
        let head = try loaded.encoderDescription().head
        let ready = clock.now
        _ = try executor.encode(TokenBatch([[1, 2, 3]]), head: head)
        let first = clock.now
        if precision.isEmpty {
            if let obstacle = executor.obstacle(to: .float8) { Notice.write("no fp8 here: \(obstacle)") } else { precisions.append(.float8) }
        }

        executor.finishPreparing()
        let benchmark = EmbedBenchmark(executor, head: head)
        let others = try precisions.dropFirst().map { precision in
            guard let other = try load(modelFolder, precision).executor as? CUDAExecutor else {
                throw ValidationError("the model went to another device the second time")
            }
            other.finishPreparing()
            return EmbedBenchmark(other, head: head)
        }
        var rows: [EmbedBenchmark.Row] = []
        for shape in try parsedShapes() {
            for benchmark in [benchmark] + others { rows.append(try benchmark.measure(shape, runs: runs, profiles: profile)) }
        }
        let peers = peer.flatMap { command in
            do {
                return try PeerCommand(commandLine: command).embedFigures(shapes: shapes.split(separator: ",").map(String.init))
            } catch {
                // Our own figures are there, whatever becomes of a peer's.
                Notice.write("\(error)")
                return []
            }
        }
        let text = EmbedReport(
            title: model ?? preset, device: executor.deviceDescription, peak: executor.peakOperationsPerSecond,
            matrixRate: try benchmark.matrixRate()?.median, loading: (ready - opened) / .seconds(1), firstVector: (first - ready) / .seconds(1),
            starts: try starts(executor, weights: loaded.weights, head: head), rows: rows, peers: peers)
        let output = Output.standard
        for line in text.lines { try output.writeLine(line) }
        let report = try benchmark.report(
            rows, peers: peers, title: model ?? preset, command: CommandLine.arguments.joined(separator: " "), version: reports.version,
            date: ReportArguments.now)
        try reports.write(report)
        if let baseline { try output.write("\n" + BenchmarkComparison(baseline: baseline, present: report).text) }
        try output.close()
    }

    private func starts(
        _ executor: CUDAExecutor, weights: TransformerWeights, head: EncoderHead
    ) throws -> [(texts: String, cold: EmbedStart, warm: EmbedStart)] {
        guard coldStart else { return [] }
        return try [("a text of 3 tokens", false), ("texts of 3 to 4,000 tokens", true)].map { name, isMixed in
            let (cold, warm) = try EmbedStart.measure(executor, weights: weights, head: head, isMixed: isMixed)
            return (name, cold, warm)
        }
    }

    private func load(_ folder: ModelFolder, _ precision: MatrixPrecision) throws -> LoadedModel {
        var options = device.options
        options.precision = precision
        options.preparesVectors = true
        return try LoadedModel(folder: folder, options: options, groupRows: groupRows)
    }

    private func modelFolder(_ models: RandomModels) async throws -> ModelFolder {
        if let model { return try await LoadedModel.findFolder(model) }
        return try ModelFolder(path: models.path(of: .required(preset)))
    }
}
