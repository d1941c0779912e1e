import ArgumentParser

struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measure how fast this machine runs models.", subcommands: [BenchCPUCommand.self, BenchEmbedCommand.self])
}
