import CUDA
import Operators
import Tensors

extension OperatorBenchmark {
    static var norms: [Case] {
        [
            rowRotation(batch: 8, length: 2048, hidden: 4096, head: 64, dtype: .float16), norm(tokens: 65536, hidden: 640, dtype: .bfloat16),
            norm(tokens: 65536, hidden: 1024, dtype: .bfloat16), headRotation(tokens: 65536, heads: 5, head: 256),
            headRotation(tokens: 65536, heads: 24, head: 128),
        ]
    }

    /// RMSNorm over whole rows and rotation of their heads.
    static func rowRotation(batch: Int, length: Int, hidden: Int, head: Int, dtype: DType) -> Case {
        let shape = [batch, length, hidden]
        let size = batch * length * hidden * dtype.byteCount
        // Half of each table is read: the other half repeats it.
        let work = Work.elementwise(size, size, hidden * dtype.byteCount, 2 * length * head / 2 * dtype.byteCount)
        let key = TuningKey(operation: "rmsNormRoPE", inputType: dtype, outputType: dtype, sizes: [hidden, head])
        return Case("norm", "rmsnorm + rope \(shape) D \(head) \(dtype)", work, key: key) { bench in
            let sets = bench.suite.inputSets(byteCount: 2 * size)
            let x = try (0..<sets).map { _ in try bench.inputs.tensor(dtype, shape) }
            let y = try (0..<sets).map { _ in try bench.context.tensor(dtype, shape) }
            let weight = try bench.inputs.tensor(dtype, [hidden])
            let (cosine, sine) = (try bench.inputs.tensor(dtype, [length, head]), try bench.inputs.tensor(dtype, [length, head]))
            let call: (Int) throws -> Void = { index in
                _ = try bench.context.rmsNormRoPE(x[index % sets], weight: weight, cosine: cosine, sine: sine, into: y[index % sets])
            }
            let check: () throws -> BenchmarkCheck = {
                try bench.poison(y[0])
                try call(0)
                let tables = (cosine: try bench.download(cosine), sine: try bench.download(sine))
                return judge(
                    try bench.sampledRanges(of: length, length: 4).map { tokens in
                        let part = try bench.download(x[0].slice(0, batch - 1..<batch).slice(1, tokens))
                        let expected = try CPUReference.rmsNormRoPE(
                            part, weight: bench.download(weight), cosine: tables.cosine, sine: tables.sine, positions: tokens.map(Int32.init))
                        return try Comparison(
                            bench.download(y[0].slice(0, batch - 1..<batch).slice(1, tokens)), expected, tolerance(dtype, absolute: 1e-5))
                    })
            }
            return [BenchmarkSuite.Entry("apus", note: bench.choice(key), check: check, run: call), bench.copy(x, to: y)]
        }
    }

    /// RMSNorm over rows.
    static func norm(tokens: Int, hidden: Int, dtype: DType) -> Case {
        let size = tokens * hidden * dtype.byteCount
        let work = Work.elementwise(size, size, hidden * dtype.byteCount)
        let key = TuningKey(operation: "rmsNorm", inputType: dtype, outputType: dtype, sizes: [hidden, 0])
        return Case("norm", "rmsnorm \(tokens) x \(hidden) \(dtype)", work, key: key) { bench in
            let sets = bench.suite.inputSets(byteCount: 2 * size)
            let x = try (0..<sets).map { _ in try bench.inputs.tensor(dtype, [tokens, hidden]) }
            let y = try (0..<sets).map { _ in try bench.context.tensor(dtype, [tokens, hidden]) }
            let weight = try bench.inputs.tensor(dtype, [hidden])
            let call: (Int) throws -> Void = { index in _ = try bench.context.rmsNorm(x[index % sets], weight: weight, into: y[index % sets]) }
            let check: () throws -> BenchmarkCheck = {
                try bench.poison(y[0])
                try call(0)
                return judge(
                    try bench.sampledRanges(of: tokens, length: 16).map { rows in
                        let expected = try CPUReference.rmsNorm(bench.download(x[0].slice(0, rows)), weight: bench.download(weight))
                        return try Comparison(bench.download(y[0].slice(0, rows)), expected, tolerance(dtype, absolute: 1e-5))
                    })
            }
            return [BenchmarkSuite.Entry("apus", note: bench.choice(key), check: check, run: call), bench.copy(x, to: y)]
        }
    }

    /// The norm of each head and its rotation, in place in a fused projection whose values lie behind them.
    private static func headRotation(tokens: Int, heads: Int, head: Int) -> Case {
        let row = (heads + 1) * head
        let size = tokens * heads * head * 2
        let work = Work.elementwise(size, size, head * 2, 2 * tokens * head / 2 * 4)
        return Case("norm", "head norm + rope in place \(tokens) x \(heads) x \(head) bfloat16", work) { bench in
            let sets = bench.suite.inputSets(byteCount: size)
            let fused = try (0..<sets).map { _ in try bench.inputs.tensor(.bfloat16, [tokens, row]) }
            let x = try fused.map { try $0.slice(1, 0..<heads * head).split(1, into: (heads, head)) }
            let weight = try bench.inputs.tensor(.bfloat16, [head], scale: 0.1)
            let tables = (
                try bench.inputs.tensor(.float32, [tokens, head], scale: 0.5), try bench.inputs.tensor(.float32, [tokens, head], scale: 0.5)
            )
            let call: (Int) throws -> Void = { index in
                _ = try bench.context.rmsNormRoPE(
                    x[index % sets], weight: weight, cosine: tables.0, sine: tables.1, scope: .head, unitOffset: true, into: x[index % sets])
            }
            let check: () throws -> BenchmarkCheck = {
                let samples = bench.sampledRanges(of: tokens, length: 8)
                let before = try samples.map { try bench.download(x[0].slice(0, $0)) }
                try call(0)
                return judge(
                    try zip(samples, before).map { rows, values in
                        let expected = try CPUReference.rmsNormRoPE(
                            values, weight: bench.download(weight), cosine: bench.download(tables.0.slice(0, rows)),
                            sine: bench.download(tables.1.slice(0, rows)), scope: .head, unitOffset: true)
                        return try Comparison(bench.download(x[0].slice(0, rows)), expected, tolerance(.bfloat16, absolute: 1e-5))
                    })
            }
            return [BenchmarkSuite.Entry("apus", check: check, run: call)]
        }
    }

    /// What the memory gives: a copy of the same tensors by the driver.
    func copy(_ source: [DeviceTensor], to target: [DeviceTensor]) -> BenchmarkSuite.Entry {
        BenchmarkSuite.Entry("copy of the same tensor", role: .yardstick) { [context] index in
            let set = index % source.count
            try context.stream.copy(BenchmarkInputs.region(source[set]), to: BenchmarkInputs.region(target[set]))
        }
    }
}
