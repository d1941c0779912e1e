import CUDA
import Foundation
import Operators
import Tensors

extension OperatorBenchmark {
    static var float8Products: [Case] {
        let shapes = [(8192, 8192, 8192), (8192, 4096, 640), (65536, 4096, 640), (65536, 640, 2048), (4096, 3072, 1024), (8192, 6144, 2048)]
        return shapes.map { float8Product(m: $0.0, n: $0.1, k: $0.2, granularity: .tensor) }
            + shapes.dropFirst().map { float8Product(m: $0.0, n: $0.1, k: $0.2, granularity: .row) }
            + [automaticFloat8Product(m: 8192, n: 4096, k: 640)]
    }

    /// Codes that were made before, with one scale for each operand or one for each of its rows.
    static func float8Product(m: Int, n: Int, k: Int, granularity: QuantizationGranularity) -> Case {
        let scaleCount = granularity == .row ? m + n : 2
        let work = Work.product(m: m, n: n, k: k, input: .float8E4M3, output: .bfloat16, extraBytes: 4 * scaleCount)
        let key = TuningKey(operation: "fp8Gemm", inputType: .float8E4M3, outputType: .bfloat16, sizes: [m, n, k])
        let title = "fp8 gemm \(granularity == .row ? "row scales" : "tensor scales") \(m) x \(n) x \(k)"
        return Case("fp8Gemm", title, work, key: key) { bench in
            let sets = bench.suite.inputSets(byteCount: Int(work.bytes))
            let a = try (0..<sets).map { _ in try bench.codes([m, k], scale: 1, granularity) }
            let b = try (0..<sets).map { _ in try bench.codes([n, k], scale: 1 / Float(k).squareRoot(), granularity) }
            let c = try (0..<sets).map { _ in try bench.context.tensor(.bfloat16, [m, n]) }
            func entry(_ name: String, _ accumulation: Float8Accumulation) -> BenchmarkSuite.Entry {
                let call: (Int) throws -> Void = { index in
                    _ = try bench.context.fp8Gemm(a[index % sets], b[index % sets], accumulation: accumulation, into: c[index % sets])
                }
                return BenchmarkSuite.Entry(
                    name, note: bench.choice(key),
                    check: {
                        try bench.poison(c[0])
                        try call(0)
                        return try bench.judgeProduct(m, n) { rows, columns in
                            let expected = try CPUReference.fp8Gemm(bench.downloadRows(a[0], rows), bench.downloadRows(b[0], columns))
                            return try Comparison(
                                bench.download(c[0].slice(0, rows).slice(1, columns)), expected, Tolerance(absolute: 4e-3, relative: 1e-2))
                        }
                    }, run: call)
            }
            var entries = [entry("apus", .automatic), entry("apus, fast sums", .fast)]
            if granularity == .tensor {
                for isFast in [false, true] {
                    entries += bench.matrixEntries(
                        MatrixProduct(m: m, n: n, k: k, a: .e4m3, b: .e4m3, output: .bfloat16, fastAccumulation: isFast), a: a.map(\.codes),
                        b: b.map(\.codes), c: c, scales: (a[0].scales, b[0].scales), name: isFast ? "cuBLASLt, fast sums" : "cuBLASLt")
                }
            }
            return entries
        }
    }

    /// Both operands quantised on the way, row by row: two more kernels, and 16 bits read in place of 8.
    private static func automaticFloat8Product(m: Int, n: Int, k: Int) -> Case {
        let work = Work.product(m: m, n: n, k: k, input: .bfloat16, output: .bfloat16)
        let title = "fp8 gemm, operands quantised on the way \(m) x \(n) x \(k)"
        return Case("fp8Gemm", title, Work(operations: work.operations, bytes: work.bytes, unit: .fp8)) { bench in
            let sets = bench.suite.inputSets(byteCount: Int(work.bytes))
            let a = try (0..<sets).map { _ in try bench.inputs.tensor(.bfloat16, [m, k]) }
            let b = try (0..<sets).map { _ in try bench.inputs.tensor(.bfloat16, [n, k], scale: 1 / Float(k).squareRoot()) }
            let c = try (0..<sets).map { _ in try bench.context.tensor(.bfloat16, [m, n]) }
            let call: (Int) throws -> Void = { index in _ = try bench.context.fp8Gemm(a[index % sets], b[index % sets], into: c[index % sets]) }
            return [
                BenchmarkSuite.Entry(
                    "apus", isCapturable: false,
                    check: {
                        try bench.poison(c[0])
                        try call(0)
                        var loss = QuantizationLoss()
                        let check = try bench.judgeProduct(m, n) { rows, columns in
                            let (left, right) = (try bench.download(a[0].slice(0, rows)), try bench.download(b[0].slice(0, columns)))
                            let actual = try bench.download(c[0].slice(0, rows).slice(1, columns))
                            try loss.add(actual.float32(), CPUReference.gemm(left, right, outputType: .float32).float32())
                            return try Comparison(actual, CPUReference.fp8Gemm(left, right), Tolerance(absolute: 4e-3, relative: 1e-2))
                        }
                        guard case .passed(let text) = check else { return check }
                        return .passed("\(text); against the product without quantisation \(loss)")
                    }, run: call)
            ]
        }
    }

    /// What quantisation does to a result: the angle between it and the exact one, and the mean error over the mean size.
    struct QuantizationLoss: CustomStringConvertible {
        private var (products, actuals, expecteds, errors, sizes) = (0.0, 0.0, 0.0, 0.0, 0.0)

        mutating func add(_ actual: [Float], _ expected: [Float]) {
            for (a, b) in zip(actual, expected) {
                let (x, y) = (Double(a), Double(b))
                products += x * y
                actuals += x * x
                expecteds += y * y
                errors += (x - y).magnitude
                sizes += y.magnitude
            }
        }

        var description: String {
            String(format: "cosine %.5f, mean relative error %.1e", products / (actuals * expecteds).squareRoot(), errors / sizes)
        }
    }

    private func codes(_ shape: [Int], scale: Float, _ granularity: QuantizationGranularity) throws -> Quantized<DeviceTensor> {
        try context.quantize(inputs.tensor(.bfloat16, shape, scale: scale), granularity: granularity)
    }

    private func downloadRows(_ source: Quantized<DeviceTensor>, _ rows: Range<Int>) throws -> Quantized<HostTensor> {
        let scales = source.granularity == .row ? try source.scales.slice(0, rows) : source.scales
        return Quantized(codes: try download(source.codes.slice(0, rows)), scales: try download(scales), granularity: source.granularity)
    }
}
