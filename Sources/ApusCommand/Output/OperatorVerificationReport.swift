import ArgumentParser
import CUDA
import Foundation
import Operators

/// `verify --operators`: a line for each operator and path as it is done, the failures below, exit status 1 if there is one.
struct OperatorVerificationReport {
    let seed: UInt64
    let cases: OperatorCaseArguments

    /// Failures of one operator that are told in full.
    private static let shownFailures = 5

    /// - Parameter path: Only this path; all when automatic.
    func run(on selection: DeviceSelection, path: KernelPath) throws {
        let device = try selection.requireGPU(for: "verify --operators")
        let context = try OperatorContext(Context(device), overlapsLaunches: cases.overlap)
        if cases.tuned { try OperatorTuning.announce(loadingInto: context) }
        let verification = OperatorVerification(seed: seed, caseCount: cases.cases, names: cases.names, path: path)
        let output = Output.standard
        try output.writeLine(
            "\(device), compute capability \(device.computeCapability), driver for CUDA \(try Driver.shared().version), seed \(seed), "
                + "\(cases.cases) cases each\(cases.overlap ? ", launches overlap" : "")")
        try output.writeLine(Self.row("", "operator", "path", "values", "largest error", "mean relative", "time", "rule (loosest)"))
        try output.flush()
        var writeFault: (any Error)?
        let results = try verification.run(on: context) { result in
            do {
                try show(result)
            } catch {
                writeFault = writeFault ?? error
            }
        }
        if let writeFault { throw writeFault }
        let failures = results.reduce(0) { $0 + $1.failures.count }
        let skipped = results.filter { $0.skipReason != nil }.count
        let ran = (results.count - skipped) * cases.cases
        try output.writeLine(
            "\(ran) cases, \(failures) failed\(skipped > 0 ? ", \(skipped) operators skipped on the hopper path" : ""), seed \(seed)")
        try output.close()
        if failures > 0 || ran == 0 { throw ExitCode(1) }
    }

    private func show(_ result: OperatorVerification.Result) throws {
        let output = Output.standard
        let path = result.path == .automatic ? "one" : result.path.rawValue
        if let reason = result.skipReason {
            try output.writeLine("- \(Self.pad(result.name, 22)) \(Self.pad(path, 8)) skipped: \(reason)")
            return try output.flush()
        }
        try output.writeLine(
            Self.row(
                result.passes ? "✓" : "✗", result.name, path, Format.count(Double(result.elementCount)),
                String(format: "%.2e", result.maximumAbsoluteError), String(format: "%.2e", result.maximumMeanRelativeError),
                String(format: "%.1f s", result.duration / .seconds(1)), result.tolerances.last?.description ?? ""))
        for failure in result.failures.prefix(Self.shownFailures) {
            try output.writeLine("    case \(failure.index): \(failure.description)")
            try output.writeLine("      \(failure.message)")
        }
        let rest = result.failures.count - Self.shownFailures
        if rest > 0 { try output.writeLine("    and \(rest) more") }
        try output.flush()
    }

    private static func row(_ mark: String, _ columns: String...) -> String {
        let widths = [22, 8, 9, 14, 14, 8, 0]
        return (mark.isEmpty ? " " : mark) + " " + zip(columns, widths).map { pad($0, $1) }.joined(separator: " ")
    }

    private static func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}
