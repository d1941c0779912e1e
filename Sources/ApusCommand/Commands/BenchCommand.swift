import ArgumentParser

struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measure how fast this machine runs models and operators.",
        subcommands: [BenchCPUCommand.self, BenchDecodeCommand.self, BenchEmbedCommand.self, BenchOperatorsCommand.self])
}
