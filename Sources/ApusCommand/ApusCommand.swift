import ArgumentParser
import Foundation

/// The root of the command line.
struct ApusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apus",
        abstract: "Small-model inference: embeddings, text and chat, from Hugging Face folders.",
        discussion: """
            MODEL is a folder in Hugging Face layout or a name such as Qwen/Qwen3-0.6B; with none, a small demonstration model \
            that is part of this program is used.
            """,
        version: Version.text,
        subcommands: [
            EmbedCommand.self, GenerateCommand.self, ChatCommand.self, TokenizeCommand.self, RenderCommand.self, LogitsCommand.self,
            InitCommand.self, VerifyCommand.self, BenchCommand.self, TuneCommand.self, InfoCommand.self, ModelsCommand.self,
        ])
}

enum Version {
    static let text = "0.1.0"
}

@main
enum Main {
    static func main() async {
        // A reader that closes the pipe early (head, less) ends the program quietly instead of by signal.
        signal(SIGPIPE, SIG_IGN)
        do {
            var command = try ApusCommand.parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch let error as OutputClosed {
            exit(error.isBrokenPipe ? 0 : fail(error))
        } catch {
            let code = ApusCommand.exitCode(for: error)
            // Help and version texts are no errors, and usage faults know their own words.
            if code == .success { ApusCommand.exit(withError: error) }
            if error is ExitCode { exit(code.rawValue) }
            exit(fail(error, status: code.rawValue))
        }
    }

    /// Prints the fault as one line on stderr.
    private static func fail(_ error: any Error, status: Int32 = 1) -> Int32 {
        var message = ApusCommand.message(for: error)
        if message.isEmpty { message = String(describing: error) }
        let line = message.split(whereSeparator: \.isNewline).joined(separator: " ")
        FileHandle.standardError.write(Data("apus: \(line)\n".utf8))
        return status == 0 ? 1 : status
    }
}
