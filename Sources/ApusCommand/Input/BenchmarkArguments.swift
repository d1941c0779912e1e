import ArgumentParser
import Benchmarking
import Foundation
import Operators

/// How a benchmark on the GPU is timed.
struct TimingArguments: ParsableArguments {
    @Option(help: "Counted runs of each row.")
    var runs: Int = 11

    @Flag(name: .customLong("cold-l2"), help: "One call a run, with the L2 cache emptied ahead of it.")
    var isCold = false

    func validate() throws {
        if runs < 1 || runs > 10_000 { throw ValidationError("--runs is \(runs), expected 1 to 10000") }
    }

    var options: BenchmarkSuite.Options {
        var options = BenchmarkSuite.Options()
        options.runs = runs
        options.isCold = isCold
        return options
    }
}

/// Where a benchmark's report goes.
struct ReportArguments: ParsableArguments {
    @Option(name: .customLong("json"), help: "Write the report, with every run, as JSON.")
    var jsonPath: String?

    @Option(name: .customLong("html"), help: "Write the report as one page with plots.")
    var htmlPath: String?

    @Option(name: .customLong("markdown"), help: "Write the report as tables in Markdown.")
    var markdownPath: String?

    @Option(name: .customLong("compare"), help: "Compare with a report that --json wrote; speed-ups are baseline over present.")
    var comparePath: String?

    @Option(help: "What the report says of this build, such as a commit.")
    var label: String?

    /// This program's version and the label.
    var version: String { "apus \(Version.text)" + (label.map { " (\($0))" } ?? "") }

    /// UTC, to the second.
    static var now: String { ISO8601DateFormatter().string(from: Date()) }

    func baseline() throws -> BenchmarkReport? {
        guard let comparePath else { return nil }
        do {
            return try BenchmarkReport(json: String(contentsOfFile: comparePath, encoding: .utf8))
        } catch let error as BenchmarkReportError {
            throw ValidationError("\(comparePath): \(error)")
        }
    }

    func write(_ report: BenchmarkReport) throws {
        for (path, text) in [(jsonPath, report.json), (htmlPath, report.html), (markdownPath, report.markdown)] {
            guard let path else { continue }
            let output = try Output.open(path)
            try output.write(text)
            try output.close()
        }
    }
}

extension OperatorTuning {
    /// Loads the kept choices for this GPU and says how many there are.
    static func announce(loadingInto context: OperatorContext) throws {
        let cache = TuningCache()
        let count = try context.loadTuning(from: cache)
        if let warning = cache.warning { Notice.write(warning) }
        Notice.write("\(count) tuned choices for \(context.device), of \(cache.count) in \(cache.path ?? "no file")")
        for key in context.tuning.keys { Notice.write("  \(key): \(ValueText(context.tuning[key] ?? [:]))") }
    }
}

/// Named values as one line, sorted by name.
struct ValueText: CustomStringConvertible {
    let description: String

    init(_ values: [String: Int]) { description = values.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ") }
}
