import Foundation
import JSON
import OrderedCollections

/// Another system's benchmark in a process of its own, which measures one piece of work when it is told its title.
///
/// The program reads titles from its standard input, one a line, and answers each with one line of JSON on its standard output:
/// `{"rows": {"NAME": [microseconds, ...]}}`, with no rows for a title that it does not know. A title that comes again is measured again
/// without new preparations. It ends with its input. Other lines that it prints are passed over.
package final class PeerProcess {
    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()
    private let commandLine: String
    private var pending = Data()

    package init(commandLine: String) throws {
        let words = commandLine.split(separator: " ").map(String.init)
        guard !words.isEmpty else { throw BenchmarkReportError(description: "the peer's command is empty") }
        self.commandLine = commandLine
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = words
        process.standardInput = input
        process.standardOutput = output
        try process.run()
    }

    deinit {
        try? input.fileHandleForWriting.close()
        process.waitUntilExit()
    }

    /// Seconds of each run, by row. Waits for the peer.
    package func measure(_ title: String) throws -> [(name: String, samples: [Double])] {
        try input.fileHandleForWriting.write(contentsOf: Data((title + "\n").utf8))
        while true {
            guard let line = try nextLine() else {
                throw BenchmarkReportError(description: "the peer '\(commandLine)' ended before it answered \"\(title)\"")
            }
            guard line.hasPrefix("{"), let rows = try? JSONValue(parsing: line)["rows"]?.objectValue else { continue }
            return rows.map { name, samples in (name, samples.arrayValue?.compactMap { $0.doubleValue.map { $0 / 1e6 } } ?? []) }
        }
    }

    private func nextLine() throws -> String? {
        while true {
            if let end = pending.firstIndex(of: 0x0A) {
                let line = String(decoding: pending[pending.startIndex..<end], as: UTF8.self)
                pending.removeSubrange(pending.startIndex...end)
                return line
            }
            let more = output.fileHandleForReading.availableData
            if more.isEmpty { return nil }
            pending.append(more)
        }
    }
}
