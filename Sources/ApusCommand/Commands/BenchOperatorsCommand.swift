import ArgumentParser
import Benchmarking
import CUDA
import Foundation
import Operators

struct BenchOperatorsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "operators", abstract: "Time the operators on a GPU beside cuBLASLt and other systems.",
        discussion: """
            Every result is held against the CPU reference at sampled places first; ours and the peers then run turn by turn. --peer starts a program that \
            measures the same work, such as 'python3 Benchmarks/peers/torch_operators.py --serve'. The exit status is 1 if a result is wrong or a case \
            could not run.
            """)

    @Option(help: "auto, cuda or cuda:N.")
    var device: DeviceSelection = .automatic

    @Option(
        name: .customLong("operator"),
        help: "Only this section (gemm, gatedMLP, fp8Gemm, norm, attention, quantize, rows); may be given more than once.")
    var sections: [String] = []

    @Option(help: "Only cases whose titles hold this text.")
    var match: String?

    @OptionGroup var timing: TimingArguments

    @OptionGroup var reports: ReportArguments

    @Option(help: "A command that measures the same work in another system.")
    var peer: String?

    @Flag(help: "Use the choices that 'apus tune' kept for this GPU.")
    var tuned = false

    @Flag(help: "Let kernels start while the one ahead of them runs (compute capability 9.0).")
    var overlap = false

    @Flag(help: "Print the cases and run nothing.")
    var list = false

    func validate() throws {
        let known = Set(OperatorBenchmark.cases.map(\.section))
        for section in sections where !known.contains(section) {
            throw ValidationError("there is no section '\(section)'; expected one of \(known.sorted().joined(separator: ", "))")
        }
        if peer != nil, timing.isCold { throw ValidationError("--peer is timed with a warm L2; leave it or --cold-l2 out") }
        if cases.isEmpty { throw ValidationError("no case's title holds '\(match ?? "")'") }
    }

    private var cases: [OperatorBenchmark.Case] {
        OperatorBenchmark.cases.filter { test in
            (sections.isEmpty || sections.contains(test.section)) && (match.map { test.title.contains($0) } ?? true)
        }
    }

    func run() throws {
        let output = Output.standard
        if list {
            for test in cases { try output.writeLine("\(test.section): \(test.title)") }
            return try output.close()
        }
        // A file that cannot be compared with is found before the GPU works.
        let baseline = try reports.baseline()
        let device = try device.requireGPU(for: "bench operators")
        let context = try OperatorContext(Context(device), overlapsLaunches: overlap)
        if tuned { try OperatorTuning.announce(loadingInto: context) }
        let bench = try OperatorBenchmark(context, options: timing.options, peerCommand: peer)
        var report = BenchmarkReport(
            title: "apus bench operators", command: CommandLine.arguments.joined(separator: " "), version: reports.version,
            date: ReportArguments.now, machine: try bench.machine(), method: timing.options.description + (overlap ? ", launches overlap" : ""))
        report.machine.ceilings = try bench.ceilings()
        for line in report.headLines { try output.writeLine(line) }
        var failures = 0
        for test in cases {
            let group: BenchmarkGroup
            do {
                group = try bench.run(test)
            } catch let error as OperatorError where error.cuda?.isFatalToContext != true {
                group = BenchmarkGroup(title: test.title, section: test.section, work: test.work, rows: [], remarks: ["\(error)"])
            }
            if group.hasFailure || group.ours == nil { failures += 1 }
            report.groups.append(group)
            for line in BenchmarkReport.lines(group, report.machine.peaks) { try output.writeLine(line) }
            try output.flush()
        }
        try reports.write(report)
        if let baseline { try output.write("\n" + BenchmarkComparison(baseline: baseline, present: report).text) }
        try output.writeLine("\(report.groups.count) cases, \(failures) wrong or not run")
        try output.close()
        if failures > 0 { throw ExitCode(1) }
    }
}
