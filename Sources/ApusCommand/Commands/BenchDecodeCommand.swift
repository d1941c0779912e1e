import Apus
import ArgumentParser
import Benchmarking
import Foundation
import ModelHub
import Transformer

struct BenchDecodeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "decode", abstract: "Greedy decoding of one sequence at several lengths of its context.",
        discussion: """
            Without a model the qwen3-0.6b preset with seeded random weights, in a temporary folder or in --workspace. Each context is filled with \
            tokens, then --steps further ones are timed from the arrival of the first to that of the last. GB/s counts weights and cache.
            """)

    @OptionGroup var model: ModelArguments

    @Option(help: "Lengths of the context, separated by commas.")
    var contexts: String = "1,200,500,1900"

    @Option(help: "Timed tokens of a run.")
    var steps: Int = 96

    @Option(help: "Counted runs.")
    var runs: Int = 5

    @Option(help: "Where the folder with random weights is kept; a temporary folder, removed at the end, when left out.")
    var workspace: String?

    @Flag(help: "Print one JSON object.")
    var json = false

    private var lengths: [Int] { contexts.split(separator: ",").map { Int($0) ?? 0 } }

    func validate() throws {
        guard !lengths.isEmpty, lengths.allSatisfy({ $0 >= 1 }) else {
            throw ValidationError("--contexts is '\(contexts)', expected numbers from 1 up")
        }
        guard steps >= 1, runs >= 1 else { throw ValidationError("--steps and --runs must be at least 1") }
    }

    func run() async throws {
        let loaded = try await load()
        let benchmark = DecodeBenchmark(loaded.executor, steps: steps)
        let output = Output.standard
        let mode = model.options.decoding.rawValue
        if !json {
            try output.writeLine("\(loaded.name) on \(loaded.executor.deviceDescription), decode \(mode), \(steps) tokens, median of \(runs)")
        }
        var rows: [String] = []
        for context in lengths {
            let row = try benchmark.row(context: context, runs: runs)
            if json {
                rows.append(
                    JSONText.object([
                        "context": "\(context)", "microseconds": JSONText.number(row.microseconds.median),
                        "p10": JSONText.number(row.microseconds.p10), "p90": JSONText.number(row.microseconds.p90),
                        "tokens_per_second": JSONText.number(row.tokensPerSecond), "gigabytes_per_second": JSONText.number(row.gigabytesPerSecond),
                    ]))
            } else {
                let time = String(format: "%.1f us (%.1f to %.1f)", row.microseconds.median, row.microseconds.p10, row.microseconds.p90)
                try output.writeLine(
                    "  context \(context): \(time), " + String(format: "%.0f tok/s, %.0f GB/s", row.tokensPerSecond, row.gigabytesPerSecond))
            }
        }
        if json {
            try output.writeLine(
                JSONText.object([
                    "model": JSONText.quoted(loaded.name), "device": JSONText.quoted(loaded.executor.deviceDescription),
                    "decode": JSONText.quoted(mode), "rows": "[\(rows.joined(separator: ", "))]",
                ]))
        }
        try output.close()
    }

    private func load() async throws -> LoadedModel {
        if model.model != nil { return try await model.load(default: .text) }
        let folder = workspace ?? FileManager.default.temporaryDirectory.appendingPathComponent("apus-bench-\(UUID().uuidString)").path
        defer { if workspace == nil { try? FileManager.default.removeItem(atPath: folder) } }
        let path = folder + "/qwen3-0.6b"
        guard let preset = Preset.named("qwen3-0.6b") else { throw ValidationError("there is no preset 'qwen3-0.6b'") }
        if !FileManager.default.fileExists(atPath: path + "/config.json") {
            let progress = ProgressLine("init \(preset.name)", unit: "MB")
            try FolderInitializer(preset: preset).write(to: path, seed: 1) { progress.update(Double($0) / 1e6, of: Double($1) / 1e6) }
            progress.finish()
        }
        return try LoadedModel(folder: .init(path: path), options: model.options)
    }
}
