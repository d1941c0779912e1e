import CUDA
import Operators
import Tensors

extension OperatorBenchmark {
    /// 8192 cubed, and the four products of a layer of Gemma3 270m for 8,192 and 65,536 tokens; then those with a residual behind them.
    static var products: [Case] {
        let layer = [(1536, 640), (640, 1024), (4096, 640), (640, 2048)]
        var cases = [product(m: 8192, n: 8192, k: 8192, dtype: .bfloat16)]
        for m in [8192, 65536] { cases += layer.map { product(m: m, n: $0.0, k: $0.1, dtype: .bfloat16) } }
        cases.append(product(m: 8192, n: 1024, k: 3072, dtype: .bfloat16))
        for m in [8192, 65536] { cases += [1024, 2048].map { product(m: m, n: 640, k: $0, dtype: .bfloat16, hasResidual: true) } }
        return cases
    }

    /// One product of 16-bit operands.
    static func product(m: Int, n: Int, k: Int, dtype: DType, hasResidual: Bool = false) -> Case {
        let work = Work.product(
            m: m, n: n, k: k, input: dtype, output: dtype, extraBytes: hasResidual ? m * n * dtype.byteCount : 0)
        let key = TuningKey(operation: "gemm", inputType: dtype, outputType: dtype, sizes: [m, n, k])
        return Case("gemm", "gemm\(hasResidual ? " + residual" : "") \(m) x \(n) x \(k) \(dtype)", work, key: key) { bench in
            let sets = bench.suite.inputSets(byteCount: Int(work.bytes))
            let a = try (0..<sets).map { _ in try bench.inputs.tensor(dtype, [m, k]) }
            let b = try (0..<sets).map { _ in try bench.inputs.tensor(dtype, [n, k], scale: 1 / Float(k).squareRoot()) }
            let c = try (0..<sets).map { _ in try bench.context.tensor(dtype, [m, n]) }
            let residual = hasResidual ? try (0..<sets).map { _ in try bench.inputs.tensor(dtype, [m, n]) } : nil
            let call: (Int) throws -> Void = { index in
                let set = index % sets
                _ = try bench.context.gemm(a[set], b[set], residual: residual?[set], into: c[set])
            }
            let ours = BenchmarkSuite.Entry(
                "apus", note: bench.choice(key),
                check: {
                    try bench.poison(c[0])
                    try call(0)
                    return try bench.judgeProduct(m, n) { rows, columns in
                        let expected = try CPUReference.gemm(
                            bench.download(a[0].slice(0, rows)), bench.download(b[0].slice(0, columns)),
                            residual: residual.map { try bench.download($0[0].slice(0, rows).slice(1, columns)) })
                        return try Comparison(bench.download(c[0].slice(0, rows).slice(1, columns)), expected, tolerance(dtype, absolute: 1e-3))
                    }
                }, run: call)
            guard !hasResidual else { return [ours] }
            return [ours]
                + bench.matrixEntries(
                    MatrixProduct(m: m, n: n, k: k, a: .init(dtype), b: .init(dtype), output: .init(dtype)), a: a, b: b, c: c)
        }
    }

    static var gatedProducts: [Case] {
        let shapes: [(Int, Int, Int, Activation)] = [
            (8192, 640, 2048, .silu), (8192, 640, 2048, .geluTanh), (8192, 640, 2048, .geluErf), (8192, 1024, 3072, .silu),
            (4096, 4096, 11008, .silu),
        ]
        return shapes.map { gatedProduct(m: $0, hidden: $1, intermediate: $2, dtype: .bfloat16, activation: $3) }
    }

    /// act(x G^T) * (x U^T) with packed weights.
    static func gatedProduct(m: Int, hidden: Int, intermediate: Int, dtype: DType, activation: Activation = .silu) -> Case {
        let work = Work.gatedProduct(m: m, intermediate: intermediate, hidden: hidden, dtype: dtype)
        let key = TuningKey(operation: "gatedMLP", inputType: dtype, outputType: dtype, sizes: [m, intermediate, hidden])
        return Case("gatedMLP", "gated \(activation.rawValue) \(m) x \(hidden) -> \(intermediate) \(dtype)", work, key: key) { bench in
            let sets = bench.suite.inputSets(byteCount: m * (hidden + intermediate) * dtype.byteCount)
            let x = try (0..<sets).map { _ in try bench.inputs.tensor(dtype, [m, hidden]) }
            let y = try (0..<sets).map { _ in try bench.context.tensor(dtype, [m, intermediate]) }
            let scale = 1 / Float(hidden).squareRoot()
            let gate = try bench.inputs.tensor(dtype, [intermediate, hidden], scale: scale)
            let up = try bench.inputs.tensor(dtype, [intermediate, hidden], scale: scale)
            let weights = try bench.context.packGatedWeights(gate: gate, up: up)
            let call: (Int) throws -> Void = { index in
                _ = try bench.context.gatedMLP(x[index % sets], weights: weights, activation: activation, into: y[index % sets])
            }
            return [
                BenchmarkSuite.Entry(
                    "apus", note: bench.choice(key),
                    check: {
                        try bench.poison(y[0])
                        try call(0)
                        return try bench.judgeProduct(m, intermediate) { rows, columns in
                            let expected = try CPUReference.gatedMLP(
                                bench.download(x[0].slice(0, rows)), gate: bench.download(gate.slice(0, columns)),
                                up: bench.download(up.slice(0, columns)), activation: activation)
                            return try Comparison(
                                bench.download(y[0].slice(0, rows).slice(1, columns)), expected, Tolerance(absolute: 1e-3, relative: 1e-2))
                        }
                    }, run: call)
            ]
        }
    }

    /// Nine blocks of a result: first, middle and last rows by first, middle and last columns.
    func judgeProduct(_ m: Int, _ n: Int, _ compare: (Range<Int>, Range<Int>) throws -> Comparison) throws -> BenchmarkCheck {
        var comparisons: [Comparison] = []
        for rows in sampledRanges(of: m, length: 8) {
            for columns in sampledRanges(of: n, length: 16) { comparisons.append(try compare(rows, columns)) }
        }
        return Self.judge(comparisons)
    }

    /// The tuned choice in words; empty where the operators choose themselves.
    func choice(_ key: TuningKey) -> String {
        guard let values = context.tuning[key] else { return "" }
        return "tuned: " + values.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
    }

    /// cuBLASLt with its own choice, which is what other programs get from it, and with the best of its proposals, found by timing them.
    func matrixEntries(
        _ product: MatrixProduct, a: [DeviceTensor], b: [DeviceTensor], c: [DeviceTensor], scales: (a: DeviceTensor, b: DeviceTensor)? = nil,
        name: String = "cuBLASLt"
    ) -> [BenchmarkSuite.Entry] {
        guard includesPeers, let library = matrixLibrary,
            let plan = try? MatrixPlan(product, scales: scales.map { ($0.a.address, $0.b.address) }, library: library)
        else { return [] }
        func call(_ algorithm: Int) -> (Int) throws -> Void {
            { [stream = context.stream] index in
                let set = index % a.count
                try plan.run(a: a[set].address, b: b[set].address, output: c[set].address, algorithm: algorithm, on: stream)
                extendLifetime(scales)
            }
        }
        let runs = suite.options.runs
        suite.options.runs = 3
        defer { suite.options.runs = runs }
        let times = (0..<plan.algorithmCount).map { algorithm in (try? suite.medianSeconds(call(algorithm))) ?? .infinity }
        guard let best = times.indices.min(by: { times[$0] < times[$1] }), times[best].isFinite else { return [] }
        let unchecked: () throws -> BenchmarkCheck = { .unchecked("another program's result") }
        let first = BenchmarkSuite.Entry(name, role: .peer, check: unchecked, run: call(0))
        guard best > 0 else { return [first] }
        let note = "proposal \(best + 1) of \(plan.algorithmCount)"
        return [first, BenchmarkSuite.Entry("\(name), fastest proposal", role: .yardstick, note: note, check: unchecked, run: call(best))]
    }
}

extension MatrixProduct.Element {
    init(_ dtype: DType) {
        switch dtype {
        case .float16: self = .float16
        case .float8E4M3: self = .e4m3
        case .float8E5M2: self = .e5m2
        case .float32: self = .float32
        default: self = .bfloat16
        }
    }
}
