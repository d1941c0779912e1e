import Apus
import ArgumentParser
import Transformer

struct InitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init", abstract: "Write a model folder with seeded random weights.",
        discussion: "Presets:\n" + Preset.all.map { "  \($0.name): \($0.summary)" }.joined(separator: "\n"))

    @Option(help: "The shape of a published model.")
    var preset: String?

    @Option(help: "A config.json with the shape.")
    var config: String?

    @Option(help: "The same seed gives the same weights on every machine.")
    var seed: UInt64

    @Option(help: "The folder to write; it must not exist or be empty.")
    var output: String

    func validate() throws {
        guard (preset == nil) != (config == nil) else { throw ValidationError("give --preset NAME or --config FILE") }
        _ = try preset.map(Preset.required)
    }

    func run() async throws {
        let initializer =
            try preset.map { try FolderInitializer(preset: .required($0)) }
            ?? FolderInitializer(configurationPath: config ?? "")
        let progress = ProgressLine("init", unit: "MB")
        try initializer.write(to: output, seed: seed) { progress.update(Double($0) / 1e6, of: Double($1) / 1e6) }
        progress.finish()
        try Output.standard.writeLine("\(output): \(Format.count(Double(initializer.spec.parameterCount))) parameters")
        try Output.standard.close()
    }
}
