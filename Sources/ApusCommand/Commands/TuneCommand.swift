import ArgumentParser
import Benchmarking
import CUDA
import Foundation
import Operators
import Tensors

struct TuneCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tune", abstract: "Find the fastest block sizes and the like of the operators on this GPU.",
        discussion: """
            Every legal combination of an operator's choices is held against the CPU reference and, if it is right, timed. The best is kept for this GPU, \
            driver and version of the kernels; --tuned of 'bench operators' and 'verify --operators' uses it. A shape that was tuned before is not timed \
            again without --force.
            """)

    @Option(help: "auto, cuda or cuda:N.")
    var device: DeviceSelection = .automatic

    @Option(name: .customLong("operator"), help: "gemm, gatedMLP, fp8Gemm, fp8GemmFast, rmsNorm or rmsNormRoPE; all when left out.")
    var operation: String?

    @Option(
        name: .customLong("shape"),
        help: "MxNxK of a product (MxIxH of a gated MLP), H of a norm, HxD of a norm with rotation; may be given more than once.")
    var shapes: [String] = []

    @Option(help: "bf16 or f16; fp8 products are e4m3 to bf16.")
    var type: TypeName = .bf16

    @Flag(help: "Time shapes again that were tuned before.")
    var force = false

    @Flag(help: "Print the kept choices of all machines and run nothing.")
    var list = false

    @Flag(help: "Remove all kept choices and run nothing.")
    var clear = false

    @Flag(help: "Print every rejected combination with its reason.")
    var verbose = false

    enum TypeName: String, ExpressibleByArgument, CaseIterable {
        case bf16, f16

        var dtype: DType { self == .bf16 ? .bfloat16 : .float16 }
    }

    func validate() throws {
        _ = try keys()
        if list, clear { throw ValidationError("--list and --clear are two commands; give one of them") }
    }

    func run() throws {
        let cache = TuningCache()
        if let warning = cache.warning { Notice.write(warning) }
        if list { return try show(cache) }
        if clear {
            let count = cache.count
            try cache.clear()
            try Output.standard.writeLine("\(count) choices removed")
            return try Output.standard.close()
        }
        let device = try device.requireGPU(for: "tune")
        let context = try OperatorContext(Context(device))
        let tuner = try OperatorTuner(context)
        let output = Output.standard
        var timed = 0
        for key in try keys() {
            let identity = try context.tuningIdentity(of: key.operation)
            if !force, let kept = cache.choice(for: key, on: identity) {
                try output.writeLine("\(key): kept before, \(ValueText(kept.values)); \(gain(kept))")
                continue
            }
            let progress = ProgressLine("\(key)", unit: "combinations")
            let result = try tuner.tune(key) { done, count, _ in progress.update(Double(done), of: Double(count)) }
            progress.finish()
            timed += result.trials.count
            try report(result)
            try cache.store(result.choice, on: identity)
        }
        try output.writeLine(
            "\(timed) combinations tried; \(cache.count) choices in \(cache.path ?? "no file: none of APUS_TUNING, XDG_CACHE_HOME and HOME is set")")
        try output.close()
    }

    private func report(_ result: AutoTuner.Result) throws {
        let output = Output.standard
        try output.writeLine(
            "\(result.key): \(result.combinationCount) combinations, \(result.trials.count) legal and worth a try, \(result.rejected.count) rejected")
        let fastest = result.trials.filter { $0.seconds != nil }.sorted { ($0.seconds ?? 0) < ($1.seconds ?? 0) }
        for trial in fastest.prefix(3) { try output.writeLine("  \(microseconds(trial.seconds)) us  \(ValueText(trial.values))") }
        if let standard = result.trials.first {
            try output.writeLine("  \(microseconds(standard.seconds)) us  \(ValueText(standard.values)) (the operator's own choice)")
        }
        var reasons: [String: Int] = [:]
        for trial in result.rejected { reasons[trial.reason, default: 0] += 1 }
        if verbose {
            for trial in result.rejected { try output.writeLine("  rejected: \(ValueText(trial.values)): \(trial.reason)") }
        } else {
            for (reason, count) in reasons.sorted(by: { $0.value > $1.value }).prefix(5) { try output.writeLine("  rejected, \(count) x: \(reason)") }
        }
        try output.writeLine("  kept: \(ValueText(result.choice.values)); \(gain(result.choice))")
        try output.flush()
    }

    private func show(_ cache: TuningCache) throws {
        for entry in cache.entries {
            try Output.standard.writeLine(
                "\(entry.identity.device) (\(entry.identity.computeCapability), driver \(entry.identity.driver), kernel \(entry.identity.kernel.prefix(8))): "
                    + "\(entry.choice.key): \(ValueText(entry.choice.values)); \(gain(entry.choice))")
        }
        try Output.standard.writeLine("\(cache.count) choices in \(cache.path ?? "no file")")
        try Output.standard.close()
    }

    private func gain(_ choice: TunedChoice) -> String {
        "\(microseconds(choice.seconds)) us, the operator's own choice \(microseconds(choice.standardSeconds)) us, "
            + String(format: "%.2f x", choice.standardSeconds / choice.seconds)
    }

    private func microseconds(_ seconds: Double?) -> String { seconds.map { String(format: "%.2f", $0 * 1e6) } ?? "-" }

    /// The shapes to tune.
    private func keys() throws -> [TuningKey] {
        guard !shapes.isEmpty else {
            let keys = OperatorTuner.usualKeys.filter { operation == nil || $0.operation == operation }
            if keys.isEmpty { throw ValidationError("there is nothing to tune for '\(operation ?? "")'") }
            return keys
        }
        guard let operation else { throw ValidationError("--shape needs --operator") }
        let dimensions = ["gemm": 3, "gatedMLP": 3, "fp8Gemm": 3, "fp8GemmFast": 3, "rmsNorm": 1, "rmsNormRoPE": 2]
        guard let count = dimensions[operation] else { throw ValidationError("there is nothing to tune for '\(operation)'") }
        return try shapes.map { shape in
            let sizes = shape.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
            guard sizes.count == count, sizes.allSatisfy({ $0 > 0 }) else {
                throw ValidationError("--shape \(shape) is not \(count) positive numbers joined by x, as \(operation) takes")
            }
            let isFloat8 = operation.hasPrefix("fp8")
            let key = TuningKey(
                operation: operation, inputType: isFloat8 ? .float8E4M3 : type.dtype, outputType: isFloat8 ? .bfloat16 : type.dtype,
                sizes: operation == "rmsNorm" ? sizes + [0] : sizes)
            if OperatorTuning.configurations(for: key).isEmpty { throw ValidationError("no combination is legal for \(key)") }
            return key
        }
    }
}
