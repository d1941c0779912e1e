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

    @OptionGroup var device: DeviceArguments

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
        let folder = workspace ?? FileManager.default.temporaryDirectory.appendingPathComponent("apus-bench-\(UUID().uuidString)").path
        defer { if workspace == nil { try? FileManager.default.removeItem(atPath: folder) } }
        let prefill = try measurePrefill(folder + "/harrier-270m")
        let decode = try measureDecode(folder + "/qwen3-0.6b")
        let peers = try peer.map { try PeerCommand(commandLine: $0).run(extra: ["--threads", "\(decode.threads)", "--tokens", "\(tokens)"]) } ?? []
        try report(prefill, decode, peers)
    }

    private struct Prefill {
        let rate: Spread
        let gigaflops: Double
    }

    private struct Decode {
        let rate: Spread
        let bandwidth: Spread
        let bytesPerStep: Int
        let weightBytes: Int
        let cacheBytes: Int
        let peakBytes: Int
        let device: String
        let threads: Int
        var roof: Double { bandwidth.median / Double(bytesPerStep) }
    }

    private func load(_ preset: String, _ path: String) throws -> LoadedModel {
        guard let preset = Preset.named(preset) else { throw ValidationError("there is no preset '\(preset)'") }
        if !FileManager.default.fileExists(atPath: path + "/config.json") {
            let progress = ProgressLine("init \(preset.name)", unit: "MB")
            try FolderInitializer(preset: preset).write(to: path, seed: 1) { progress.update(Double($0) / 1e6, of: Double($1) / 1e6) }
            progress.finish()
        }
        return try LoadedModel(folder: .init(path: path), options: ModelOptions(device: .cpu, threads: device.threads))
    }

    private func benchmark(_ model: LoadedModel) throws -> CPUBenchmark {
        guard let executor = model.executor as? CPUExecutor else { throw ValidationError("bench cpu runs on the CPU; use --device cpu") }
        return CPUBenchmark(executor)
    }

    private func measurePrefill(_ path: String) throws -> Prefill {
        let model = try load("harrier-270m", path)
        guard let rate = try benchmark(model).encodeRate(tokens: tokens, runs: runs) else { throw ValidationError("nothing could be measured") }
        let matrixParameters = model.spec.parameterCount - model.spec.vocabularySize * model.spec.hiddenSize
        return Prefill(rate: rate, gigaflops: rate.median * 2 * Double(matrixParameters) / 1e9)
    }

    private func measureDecode(_ path: String) throws -> Decode {
        let model = try load("qwen3-0.6b", path)
        let benchmark = try benchmark(model)
        let context = 16
        guard let rate = try benchmark.decodeRate(context: context, steps: steps, runs: runs) else {
            throw ValidationError("nothing could be measured")
        }
        let session = try model.executor.makeSession()
        _ = try session.extend([1])
        // Read before the bandwidth probe takes its buffer.
        let peak = ProcessMemory.peakByteCount ?? 0
        guard let bandwidth = benchmark.readBandwidth() else { throw ValidationError("nothing could be measured") }
        return Decode(
            rate: rate, bandwidth: bandwidth, bytesPerStep: benchmark.bytesPerDecodeStep(context: context + steps / 2),
            weightBytes: model.weightByteCount, cacheBytes: session.cacheByteCount, peakBytes: peak, device: model.executor.deviceDescription,
            threads: device.threads ?? ThreadPool.processorCount)
    }

    private func report(_ prefill: Prefill, _ decode: Decode, _ peers: [PeerCommand.Figures]) throws {
        let output = Output.standard
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
                    "prefill_tokens_per_second": spread(prefill.rate),
                    "prefill_gflops": JSONText.number(prefill.gigaflops),
                    "decode_tokens_per_second": spread(decode.rate),
                    "read_bytes_per_second": spread(decode.bandwidth),
                    "decode_share_of_bandwidth": JSONText.number(decode.rate.median / decode.roof),
                    "weight_bytes": "\(decode.weightBytes)", "cache_bytes": "\(decode.cacheBytes)", "peak_bytes": "\(decode.peakBytes)",
                    "peers": "[\(peerObjects.joined(separator: ", "))]",
                ]))
            return try output.close()
        }
        try output.writeLine(decode.device)
        try output.writeLine(
            "prefill, \(tokens) tokens, harrier-270m bf16: \(text(prefill.rate)) tok/s, \(Format.count(prefill.gigaflops)) GFLOP/s in matrices")
        try output.writeLine("decode, qwen3-0.6b bf16: \(text(decode.rate)) tok/s")
        try output.writeLine(
            "  reads \(Format.bytes(decode.bytesPerStep)) a token; memory reads \(String(format: "%.1f", decode.bandwidth.median / 1e9)) GB/s, "
                + "a roof of \(String(format: "%.1f", decode.roof)) tok/s; share \(String(format: "%.0f", 100 * decode.rate.median / decode.roof)) %")
        try output.writeLine(
            "  peak memory \(Format.bytes(decode.peakBytes)): weights \(Format.bytes(decode.weightBytes)), cache \(Format.bytes(decode.cacheBytes)), "
                + "rest \(Format.bytes(decode.peakBytes - decode.weightBytes - decode.cacheBytes))")
        for peer in peers {
            try output.writeLine(
                "\(peer.name): prefill \(Format.count(peer.prefill)) tok/s (ours \(ratio(prefill.rate.median, peer.prefill)) x), "
                    + "decode \(Format.count(peer.decode)) tok/s (ours \(ratio(decode.rate.median, peer.decode)) x)")
        }
        try output.close()
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
