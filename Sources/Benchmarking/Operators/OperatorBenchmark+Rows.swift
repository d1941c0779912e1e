import CUDA
import Operators
import Tensors

extension OperatorBenchmark {
    static var quantizations: [Case] {
        QuantizationGranularity.allCases.map { quantization(rows: 16384, columns: 4096, granularity: $0) }
            + [dequantization(rows: 16384, columns: 4096)]
    }

    private static func quantization(rows: Int, columns: Int, granularity: QuantizationGranularity) -> Case {
        let scales = granularity == .tensor ? 1 : granularity == .row ? rows : columns
        // Maxima of the tensor and of columns are known only after a first pass over all values.
        let passes = granularity == .row ? 1 : 2
        let work = Work.elementwise(passes * rows * columns * 2, rows * columns, scales * 4)
        return Case("quantize", "quantize per \(granularity.rawValue) \(rows) x \(columns) bfloat16", work) { bench in
            let sets = bench.suite.inputSets(byteCount: Int(work.bytes))
            let x = try (0..<sets).map { _ in try bench.inputs.tensor(.bfloat16, [rows, columns]) }
            let call: (Int) throws -> Void = { index in _ = try bench.context.quantize(x[index % sets], granularity: granularity) }
            let check: () throws -> BenchmarkCheck = {
                let result = try bench.context.quantize(x[0], granularity: granularity)
                return judge(
                    try bench.sampledRanges(of: rows, length: 16).map { range in
                        let values = try bench.download(x[0].slice(0, range))
                        let scales = try bench.download(granularity == .row ? result.scales.slice(0, range) : result.scales)
                        let codes = try bench.download(result.codes.slice(0, range))
                        if granularity == .row {
                            return try Comparison(codes, CPUReference.quantize(values, granularity: .row).codes, .exact)
                        }
                        // Half a step of a format with three bits of mantissa, and of its smallest step.
                        let decoded = try CPUReference.dequantize(
                            Quantized(codes: codes, scales: scales, granularity: granularity), as: .float32)
                        let largest = try scales.float32().max() ?? 0
                        return try Comparison(decoded, values, Tolerance(absolute: Double(largest) * 0x1p-10, relative: 0x1.01p-4))
                    })
            }
            // Codes and scales are new memory at every call.
            return [BenchmarkSuite.Entry("apus", isCapturable: false, check: check, run: call)]
        }
    }

    private static func dequantization(rows: Int, columns: Int) -> Case {
        let work = Work.elementwise(rows * columns, rows * columns * 2, rows * 4)
        return Case("quantize", "dequantize per row \(rows) x \(columns) bfloat16", work) { bench in
            let sets = bench.suite.inputSets(byteCount: Int(work.bytes))
            let source = try (0..<sets).map { _ in
                try bench.context.quantize(bench.inputs.tensor(.bfloat16, [rows, columns]), granularity: .row)
            }
            let y = try (0..<sets).map { _ in try bench.context.tensor(.bfloat16, [rows, columns]) }
            let call: (Int) throws -> Void = { index in
                _ = try bench.context.dequantize(source[index % sets], as: .bfloat16, into: y[index % sets])
            }
            let check: () throws -> BenchmarkCheck = {
                try bench.poison(y[0])
                try call(0)
                return judge(
                    try bench.sampledRanges(of: rows, length: 16).map { range in
                        let part = Quantized(
                            codes: try bench.download(source[0].codes.slice(0, range)),
                            scales: try bench.download(source[0].scales.slice(0, range)), granularity: .row)
                        return try Comparison(bench.download(y[0].slice(0, range)), CPUReference.dequantize(part, as: .bfloat16), .exact)
                    })
            }
            return [BenchmarkSuite.Entry("apus", check: check, run: call)]
        }
    }

    static var rowCases: [Case] {
        [(1, 151_936), (64, 151_936), (1, 262_144)].flatMap { rows, columns in [softmax(rows, columns), argmax(rows, columns), topK(rows, columns)] }
    }

    private static func softmax(_ rows: Int, _ columns: Int) -> Case {
        let work = Work.elementwise(rows * columns * 4, rows * columns * 4)
        return Case("rows", "softmax \(rows) x \(columns) float32", work) { bench in
            let (x, sets) = try bench.logits(rows, columns)
            let y = try x.map { try bench.context.tensor(.float32, $0.shape) }
            let call: (Int) throws -> Void = { index in _ = try bench.context.softmax(x[index % sets], into: y[index % sets]) }
            let check: () throws -> BenchmarkCheck = {
                try bench.poison(y[0])
                try call(0)
                let row = rows - 1..<rows
                let expected = try CPUReference.softmax(bench.download(x[0].slice(0, row)))
                return judge([try Comparison(bench.download(y[0].slice(0, row)), expected, Tolerance(absolute: 1e-7, relative: 5e-5))])
            }
            return [BenchmarkSuite.Entry("apus", check: check, run: call)]
        }
    }

    private static func argmax(_ rows: Int, _ columns: Int) -> Case {
        Case("rows", "argmax \(rows) x \(columns) float32", .elementwise(rows * columns * 4, rows * 4)) { bench in
            let (x, sets) = try bench.logits(rows, columns)
            let indices = try bench.context.tensor(.int32, [rows])
            let call: (Int) throws -> Void = { index in _ = try bench.context.argmax(x[index % sets], into: indices) }
            let check: () throws -> BenchmarkCheck = {
                let row = rows - 1..<rows
                try bench.poison(indices)
                try call(0)
                let result = try bench.download(indices.slice(0, row))
                return judge([try Comparison(result, CPUReference.argmax(bench.download(x[0].slice(0, row))), .exact)])
            }
            return [BenchmarkSuite.Entry("apus", check: check, run: call)]
        }
    }

    private static func topK(_ rows: Int, _ columns: Int) -> Case {
        let count = 50
        return Case("rows", "top \(count) \(rows) x \(columns) float32", .elementwise(rows * columns * 4, rows * count * 8)) { bench in
            let (x, sets) = try bench.logits(rows, columns)
            let result = (values: try bench.context.tensor(.float32, [rows, count]), indices: try bench.context.tensor(.int32, [rows, count]))
            let call: (Int) throws -> Void = { index in _ = try bench.context.topK(x[index % sets], count: count, into: result) }
            let check: () throws -> BenchmarkCheck = {
                let row = rows - 1..<rows
                try bench.poison(result.values)
                try bench.poison(result.indices)
                try call(0)
                let expected = try CPUReference.topK(bench.download(x[0].slice(0, row)), count: count)
                return judge([
                    try Comparison(bench.download(result.values.slice(0, row)), expected.values, .exact),
                    try Comparison(bench.download(result.indices.slice(0, row)), expected.indices, .exact),
                ])
            }
            return [BenchmarkSuite.Entry("apus", check: check, run: call)]
        }
    }

    private func logits(_ rows: Int, _ columns: Int) throws -> (tensors: [DeviceTensor], sets: Int) {
        let sets = suite.inputSets(byteCount: rows * columns * 4)
        return (try (0..<sets).map { _ in try inputs.tensor(.float32, [rows, columns], scale: 3) }, sets)
    }
}
