import CUDA
import Dispatch
package import Operators
import Tensors

/// Tunes the operators of a context on its GPU.
package final class OperatorTuner {
    private let context: OperatorContext
    private let bench: OperatorBenchmark

    package init(_ context: OperatorContext) throws {
        self.context = context
        var options = BenchmarkSuite.Options()
        options.runs = 5
        options.warmups = 1
        bench = try OperatorBenchmark(context, options: options)
        bench.includesPeers = false
    }

    /// The shapes that are tuned when none is given: products of a layer of Gemma3 270m and Qwen3 0.6B for 8,192 tokens, and their norms.
    package static var usualKeys: [TuningKey] {
        func key(_ operation: String, _ sizes: [Int], _ type: DType = .bfloat16) -> TuningKey {
            TuningKey(operation: operation, inputType: type, outputType: type == .float8E4M3 ? .bfloat16 : type, sizes: sizes)
        }
        return [(1536, 640), (640, 1024), (640, 2048), (1024, 3072)].map { key("gemm", [8192, $0.0, $0.1]) }
            + [key("gatedMLP", [8192, 2048, 640]), key("gatedMLP", [8192, 3072, 1024])]
            + [key("fp8Gemm", [8192, 4096, 640], .float8E4M3), key("fp8GemmFast", [8192, 4096, 640], .float8E4M3)]
            + [key("rmsNorm", [640, 0]), key("rmsNorm", [1024, 0]), key("rmsNormRoPE", [4096, 64], .float16)]
    }

    /// Tunes for one shape. The context's table is used while this runs, and holds the winner afterwards.
    ///
    /// Cost: all kernels are compiled first, on all cores (about two seconds of one core each); then some tens of milliseconds a combination.
    package func tune(_ key: TuningKey, progress: (Int, Int, AutoTuner.Trial) -> Void = { _, _, _ in }) throws -> AutoTuner.Result {
        guard let standard = OperatorTuning.standard(for: key) else {
            throw BenchmarkReportError(description: "there is nothing to tune for \(key)")
        }
        let candidates = OperatorTuning.configurations(for: key)
        compile([standard] + candidates, for: key)
        let before = context.tuning[key]
        do {
            let subject = Subject(context: context, key: key, entry: try entry(for: key), suite: bench.suite)
            let result = try AutoTuner(subject).tune(key, standard: standard, candidates: candidates, progress: progress)
            try context.tuning.set(result.choice.values, for: key)
            return result
        } catch {
            try context.tuning.set(before ?? standard, for: key)
            throw error
        }
    }

    private struct Subject: TuningSubject {
        let context: OperatorContext
        let key: TuningKey
        let entry: BenchmarkSuite.Entry
        let suite: BenchmarkSuite

        func check(_ values: [String: Int]) throws -> BenchmarkCheck {
            try context.tuning.set(values, for: key)
            return try entry.check()
        }

        func seconds(_ values: [String: Int]) throws -> Double {
            try context.tuning.set(values, for: key)
            return try suite.medianSeconds(entry.run)
        }
    }

    /// The operator at the key's sizes, with its reference.
    private func entry(for key: TuningKey) throws -> BenchmarkSuite.Entry {
        let sizes = key.sizes
        let test: OperatorBenchmark.Case
        var name = "apus"
        switch (key.operation, sizes.count) {
        case ("gemm", 3): test = OperatorBenchmark.product(m: sizes[0], n: sizes[1], k: sizes[2], dtype: key.inputType)
        case ("gatedMLP", 3):
            test = OperatorBenchmark.gatedProduct(m: sizes[0], hidden: sizes[2], intermediate: sizes[1], dtype: key.inputType)
        case ("fp8Gemm", 3), ("fp8GemmFast", 3):
            // Scales of rows, as the forms that were compiled ahead.
            test = OperatorBenchmark.float8Product(m: sizes[0], n: sizes[1], k: sizes[2], granularity: .row)
            name = key.operation == "fp8Gemm" ? "apus, exact sums" : "apus, fast sums"
        case ("rmsNorm", 2): test = OperatorBenchmark.norm(tokens: max(1, (48 << 20) / sizes[0]), hidden: sizes[0], dtype: key.inputType)
        case ("rmsNormRoPE", 2):
            test = OperatorBenchmark.rowRotation(
                batch: 8, length: max(1, (8 << 20) / sizes[0]), hidden: sizes[0], head: sizes[1], dtype: key.inputType)
        default: throw BenchmarkReportError(description: "there is nothing to tune for \(key)")
        }
        guard let entry = try test.make(bench).first(where: { $0.name == name }) else {
            throw BenchmarkReportError(description: "\(key) cannot be measured")
        }
        return entry
    }

    /// Fills the kernel cache on all cores; what does not compile shows again, with its reason, when it is tried.
    private func compile(_ choices: [[String: Int]], for key: TuningKey) {
        let forms = choices.compactMap { try? OperatorKernels.form($0, for: key) }
        let (compiler, architecture) = (context.compiler, context.architecture)
        DispatchQueue.concurrentPerform(iterations: forms.count) { index in
            _ = try? compiler.compile(forms[index].path, constants: forms[index].constants, for: architecture)
        }
    }
}
