import Apus
import ArgumentParser
import Benchmarking
import CUDA
import Foundation
import ModelHub
import Transformer

struct BenchCPUCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cpu", abstract: "Prefill and decode on the CPU, beside the memory's read bandwidth.",
        discussion: """
            Prefill is one text of 512 tokens through the harrier-270m preset, decode single steps of the qwen3-0.6b preset, both with seeded random \
            weights that are written to a temporary folder. --peer runs a command that prints one JSON object with prefill_tokens_per_second and \
            decode_tokens_per_second by name, such as Benchmarks/peers/torch_cpu.py, in the same minute.
            """)

    @OptionGroup var pool: ThreadArguments

    @Option(help: "Tokens of the prefill.")
    var tokens: Int = 512

    @Option(help: "Steps of a decode run.")
    var steps: Int = 16

    @Option(help: "Counted runs of each.")
    var runs: Int = 5

    @Option(help: "Where the folders with random weights are kept; a temporary folder, removed at the end, when left out.")
    var workspace: String?

    @Option(help: "A command of a peer to run beside, such as 'python3 Benchmarks/peers/torch_cpu.py'.")
    var peer: String?

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        if tokens < 1 || steps < 1 || runs < 1 { throw ValidationError("--tokens, --steps and --runs must be at least 1") }
    }

    func run() async throws {
        let models = RandomModels(workspace: workspace)
        defer { models.remove() }
        let prefills = try measurePrefills(models.path(of: .required("harrier-270m")))
        let decode = try measureDecode(models.path(of: .required("qwen3-0.6b")))
        let peers = try peer.map { try PeerCommand(commandLine: $0).run(extra: ["--threads", "\(decode.threads)", "--tokens", "\(tokens)"]) } ?? []
        try report(prefills, decode, peers)
    }

    private struct Prefill {
        let precision: CPUPrecision
        let rate: Spread
        let gigaflops: Double
    }

    private struct Decode {
        let figures: CPUBenchmark.Decode
        let weightBytes: Int
        let device: String
        let threads: Int
        var roof: Double { figures.bandwidth.median / Double(figures.bytesPerStep) }
    }

    private func load(_ path: String, _ precision: CPUPrecision = .fp32) throws -> LoadedModel {
        try LoadedModel(folder: .init(path: path), options: ModelOptions(device: .cpu, threads: pool.threads, cpuPrecision: precision))
    }

    private func executor(_ model: LoadedModel) throws -> CPUExecutor {
        guard let executor = model.executor as? CPUExecutor else { throw ValidationError("the model did not go to the CPU") }
        return executor
    }

    /// With activations as they are and, where this processor has instructions for it, rounded to bf16.
    private func measurePrefills(_ path: String) throws -> [Prefill] {
        try CPUPrecision.allCases.compactMap { precision in
            let model = try load(path, precision)
            let executor = try executor(model)
            guard precision == .fp32 || executor.roundsActivations else { return nil }
            guard let rate = try CPUBenchmark(executor).encodeRate(tokens: tokens, runs: runs) else {
                throw ValidationError("nothing could be measured")
            }
            let matrixParameters = model.spec.parameterCount - model.spec.vocabularySize * model.spec.hiddenSize
            return Prefill(precision: precision, rate: rate, gigaflops: rate.median * 2 * Double(matrixParameters) / 1e9)
        }
    }

    private func measureDecode(_ path: String) throws -> Decode {
        let model = try load(path)
        guard let figures = try CPUBenchmark(executor(model)).decode(context: 16, steps: steps, runs: runs) else {
            throw ValidationError("nothing could be measured")
        }
        return Decode(
            figures: figures, weightBytes: model.weightByteCount, device: model.executor.deviceDescription,
            threads: pool.threads ?? ThreadPool.processorCount)
    }

    private func report(_ prefills: [Prefill], _ decode: Decode, _ peers: [PeerCommand.Figures]) throws {
        let output = Output.standard
        let figures = decode.figures
        if json {
            let peerObjects = peers.map { peer in
                JSONText.object([
                    "name": JSONText.quoted(peer.name), "prefill_tokens_per_second": JSONText.number(peer.prefill),
                    "decode_tokens_per_second": JSONText.number(peer.decode),
                ])
            }
            try output.writeLine(
                JSONText.object([
                    "device": JSONText.quoted(decode.device),
                    "prefill_tokens": "\(tokens)",
                    "prefill": "[\(prefills.map(object).joined(separator: ", "))]",
                    "decode_tokens_per_second": spread(figures.rate),
                    "read_bytes_per_second": spread(figures.bandwidth),
                    "decode_share_of_bandwidth": spread(figures.share),
                    "weight_bytes": "\(decode.weightBytes)", "cache_bytes": "\(figures.cacheByteCount)",
                    "peak_bytes": "\(figures.peakByteCount)",
                    "peers": "[\(peerObjects.joined(separator: ", "))]",
                ]))
            return try output.close()
        }
        try output.writeLine(decode.device)
        for prefill in prefills {
            let name = prefill.precision == .fp32 ? "" : ", activations rounded to \(prefill.precision.rawValue)"
            try output.writeLine(
                "prefill, \(tokens) tokens, harrier-270m bf16\(name): \(text(prefill.rate)) tok/s, \(Format.count(prefill.gigaflops)) GFLOP/s in matrices"
            )
        }
        try output.writeLine("decode, qwen3-0.6b bf16: \(text(figures.rate)) tok/s")
        try output.writeLine(
            "  reads \(Format.bytes(figures.bytesPerStep)) a token; memory reads \(String(format: "%.1f", figures.bandwidth.median / 1e9)) GB/s, "
                + "a roof of \(String(format: "%.1f", decode.roof)) tok/s; share \(String(format: "%.0f", 100 * figures.share.median)) %")
        let known = decode.weightBytes + figures.cacheByteCount
        try output.writeLine(
            "  peak memory \(Format.bytes(figures.peakByteCount)): weights \(Format.bytes(decode.weightBytes)), "
                + "cache \(Format.bytes(figures.cacheByteCount)), rest \(Format.bytes(figures.peakByteCount - known))")
        for peer in peers {
            let ratios = prefills.map { "ours \($0.precision == .fp32 ? "" : $0.precision.rawValue + " ")\(ratio($0.rate.median, peer.prefill)) x" }
            try output.writeLine(
                "\(peer.name): prefill \(Format.count(peer.prefill)) tok/s (\(ratios.joined(separator: ", "))), "
                    + "decode \(Format.count(peer.decode)) tok/s (ours \(ratio(figures.rate.median, peer.decode)) x)")
        }
        try output.close()
    }

    private func object(_ prefill: Prefill) -> String {
        JSONText.object([
            "activations": JSONText.quoted(prefill.precision.rawValue), "tokens_per_second": spread(prefill.rate),
            "gflops": JSONText.number(prefill.gigaflops),
        ])
    }

    private func spread(_ spread: Spread) -> String {
        JSONText.object([
            "median": JSONText.number(spread.median), "p10": JSONText.number(spread.p10), "p90": JSONText.number(spread.p90),
            "runs": "\(spread.count)",
        ])
    }

    private func text(_ spread: Spread) -> String {
        "\(Format.count(spread.median)) (p10 \(Format.count(spread.p10)), p90 \(Format.count(spread.p90)), \(spread.count) runs)"
    }

    private func ratio(_ ours: Double, _ theirs: Double) -> String { String(format: "%.2f", ours / theirs) }
}
