import Tensors

extension VerifiedOperator {
    /// For results of size about 1: the rounding of the result's type, and the sums' own error.
    private static func productTolerance(_ output: DType) -> Tolerance {
        switch output {
        case .bfloat16: Tolerance(absolute: 1e-4, relative: 8e-3)
        case .float16: Tolerance(absolute: 1e-4, relative: 1e-3)
        default: Tolerance(absolute: 1e-4, relative: 1e-4)
        }
    }

    private static let activations: [Activation] = [.silu, .geluErf, .geluTanh]

    /// Hopper's copy engine wants rows of whole 16 bytes; the generic kernel takes any.
    private static func inner(_ random: inout SeededRandom, _ path: KernelPath, multiple: Int) -> Int {
        let size = random.size(upTo: 1536)
        return path == .hopper || random.chance(0.4) ? (size + multiple - 1) / multiple * multiple : size
    }

    static let gemm = VerifiedOperator("gemm", paths: [.hopper, .generic]) { (random, path) throws(OperatorError) in
        let input = random.float16Type()
        let output = random.choose([input, input, .bfloat16, .float16, .float32])
        let (m, k) = (random.size(upTo: 600), inner(&random, path, multiple: 8))
        var n = random.size(upTo: 700)
        let hasResidual = random.chance(0.3)
        if hasResidual, path == .hopper { n = (n + 7) / 8 * 8 }
        var a = try random.tensor([m, k], input)
        if random.plantsNaN() { a = try a.planting(.nan, at: random.integer(0...m * k - 1)) }
        let b = try random.tensor([n, k], input, scale: 1 / Double(k).squareRoot())
        let bias = random.chance(0.4) ? try random.tensor([n], .float32) : nil
        let activation = random.chance(0.4) ? random.choose(activations) : nil
        let residual = hasResidual ? try random.tensor([m, n], output) : nil
        let problem = try GEMMProblem(
            gemm: a, b, bias: bias, activation: activation, residual: residual, outputType: output, on: .host)
        let expected = try CPUReference.product(problem, a, b, bias: bias, residual: residual)
        let left = a
        let gap = random.chance(0.2) ? 8 : 0
        return VerificationCase(
            description:
                "\(m) x \(n) x \(k) \(input) to \(output), bias \(bias != nil), \(activation?.rawValue ?? "no activation"), residual \(hasResidual), gap \(gap)",
            expected: [.init("c", expected, productTolerance(output))]
        ) { (context) throws(OperatorError) in
            let c = try context.gemm(
                context.uploadSlice(left, before: gap, after: gap), context.upload(b), bias: context.optional(bias), activation: activation,
                residual: context.optional(residual), outputType: output, path: path)
            return [try context.download(c)]
        }
    }

    /// Fp32 without TF32, 1e-5 against double precision.
    static let floatGEMM = VerifiedOperator("gemm of fp32") { (random, path) throws(OperatorError) in
        let (m, n, k) = (random.size(upTo: 300), random.size(upTo: 300), random.size(upTo: 1025))
        let a = try random.tensor([m, k], .float32)
        let b = try random.tensor([n, k], .float32, scale: 1 / Double(k).squareRoot())
        let bias = random.chance(0.4) ? try random.tensor([n], .float32) : nil
        let residual = random.chance(0.4) ? try random.tensor([m, n], .float32) : nil
        let problem = try GEMMProblem(
            gemm: a, b, bias: bias, activation: nil, residual: residual, outputType: nil, on: .host)
        let expected = try CPUReference.product(problem, a, b, bias: bias, residual: residual)
        return VerificationCase(
            description: "\(m) x \(n) x \(k), bias \(bias != nil), residual \(residual != nil)",
            expected: [.init("c", expected, Tolerance(absolute: 1e-5, relative: 1e-5))]
        ) { (context) throws(OperatorError) in
            let c = try context.gemm(
                context.upload(a), context.upload(b), bias: context.optional(bias), residual: context.optional(residual), path: path)
            return [try context.download(c)]
        }
    }

    /// 1e-2 and 1e-4; fp32 to 1e-4 and 1e-5.
    static let gatedMLP = VerifiedOperator("gatedMLP", paths: [.hopper, .generic]) { (random, path) throws(OperatorError) in
        let dtype = path == .generic ? random.floatType() : random.float16Type()
        let (m, hidden) = (random.size(upTo: 300), inner(&random, path, multiple: 8))
        let intermediate = random.chance(0.5) ? random.size(upTo: 500) : random.integer(1...60) * 8
        let activation = random.choose(activations)
        var x = try random.tensor([m, hidden], dtype)
        if random.plantsNaN() { x = try x.planting(.nan, at: random.integer(0...m * hidden - 1)) }
        let scale = 1 / Double(hidden).squareRoot()
        let gate = try random.tensor([intermediate, hidden], dtype, scale: scale)
        let up = try random.tensor([intermediate, hidden], dtype, scale: scale)
        let problem = try GEMMProblem(gatedMLP: x, gate: gate, up: up, activation: activation, on: .host)
        let expected = try CPUReference.gated(problem, x, gate, up)
        let form = random.choose(["packed", "packed on the GPU", "gate before up", "up before gate"])
        let input = x
        let tolerance = dtype == .float32 ? Tolerance(absolute: 1e-5, relative: 1e-4) : Tolerance(absolute: 1e-4, relative: 1e-2)
        return VerificationCase(
            description: "\(m) x \(intermediate) x \(hidden) \(dtype), \(activation.rawValue), weights \(form)",
            expected: [.init("y", expected, tolerance)]
        ) { (context) throws(OperatorError) in
            let x = try context.upload(input)
            let first = try context.upload(form == "up before gate" ? up : gate)
            let second = try context.upload(form == "up before gate" ? gate : up)
            let weights = form == "up before gate" ? (gate: second, up: first) : (gate: first, up: second)
            let y: DeviceTensor
            switch form {
            case "packed":
                y = try context.gatedMLP(
                    x, weights: PackedGatedWeights(gate: gate, up: up, on: context), activation: activation, path: path)
            case "packed on the GPU":
                let packed = try context.packGatedWeights(gate: weights.gate, up: weights.up)
                y = try context.gatedMLP(x, weights: packed, activation: activation, path: path)
            default: y = try context.gatedMLP(x, gate: weights.gate, up: weights.up, activation: activation, path: path)
            }
            return [try context.download(y)]
        }
    }

    /// 1e-2 against the product of the decoded operands; results are of size about 1, and the tensor cores' sums of 128 keep about 14 bits.
    private static let float8Tolerance = Tolerance(absolute: 2e-3, relative: 1e-2)

    static let fp8Gemm = VerifiedOperator("fp8Gemm", paths: [.hopper, .generic]) { (random, path) throws(OperatorError) in
        let (m, n, k) = (random.size(upTo: 400), random.size(upTo: 500), inner(&random, path, multiple: 16))
        let output = random.floatType()
        let source = random.floatType()
        let a = try random.tensor([m, k], source)
        let b = try random.tensor([n, k], source, scale: 1 / Double(k).squareRoot())
        let isAutomatic = random.chance(0.3)
        let accumulation = random.choose(Float8Accumulation.allCases)
        // The tensor cores' own sums are off by up to some 1e-3 of their size.
        let tolerance = accumulation == .fast ? Tolerance(absolute: 8e-3, relative: 1e-2) : float8Tolerance
        let granularities: [QuantizationGranularity] = [.tensor, .row]
        let codes = (
            a: try CPUReference.quantize(a, granularity: isAutomatic ? .row : random.choose(granularities)),
            b: try CPUReference.quantize(b, granularity: isAutomatic ? .row : random.choose(granularities))
        )
        let bias = random.chance(0.3) ? try random.tensor([n], .float32) : nil
        let problem = try GEMMProblem(fp8Gemm: codes.a, codes.b, bias: bias, outputType: output, on: .host)
        let expected = try CPUReference.float8Product(problem, codes.a, codes.b, bias: bias)
        return VerificationCase(
            description:
                "\(m) x \(n) x \(k) \(source) to \(output), scales \(codes.a.granularity) and \(codes.b.granularity), on the fly \(isAutomatic), \(accumulation.rawValue) sums, bias \(bias != nil)",
            expected: [.init("c", expected, tolerance)]
        ) { (context) throws(OperatorError) in
            let bias = try context.optional(bias)
            let c =
                if isAutomatic {
                    try context.fp8Gemm(
                        context.upload(a), context.upload(b), bias: bias, outputType: output, accumulation: accumulation, path: path)
                } else {
                    try context.fp8Gemm(
                        context.upload(codes.a), context.upload(codes.b), bias: bias, outputType: output, accumulation: accumulation, path: path)
                }
            return [try context.download(c)]
        }
    }

    /// The layer, and the layer after its weights were written over.
    static let fp8Linear = VerifiedOperator("fp8Linear") { (random, _) throws(OperatorError) in
        let (m, n, k) = (random.size(upTo: 200), random.size(upTo: 300), random.size(upTo: 600))
        let dtype = random.floatType()
        let x = try random.tensor([m, k], dtype)
        let scale = 1 / Double(k).squareRoot()
        let weights = (first: try random.tensor([n, k], dtype, scale: scale), second: try random.tensor([n, k], dtype, scale: scale))
        let bias = random.chance(0.5) ? try random.tensor([n], .float32) : nil
        func reference(_ weight: HostTensor) throws(OperatorError) -> [Double] {
            let result = try FP8Linear.reference(x, weight: weight, bias: bias, outputType: .float32)
            return try CPUReference.doubles("fp8Linear", result)
        }
        return VerificationCase(
            description: "\(m) x \(n) x \(k) \(dtype), bias \(bias != nil)",
            expected: [
                .init("y", try reference(weights.first), float8Tolerance),
                .init("y with other weights", try reference(weights.second), float8Tolerance),
            ]
        ) { (context) throws(OperatorError) in
            let layer = try FP8Linear(weight: weights.first, bias: bias, outputType: .float32, on: context)
            let x = try context.upload(x)
            let first = try context.download(layer(x))
            try layer.weight.upload(weights.second, on: context.stream)
            return [first, try context.download(layer(x))]
        }
    }
}

extension OperatorContext {
    func optional(_ tensor: HostTensor?) throws(OperatorError) -> DeviceTensor? {
        guard let tensor else { return nil }
        return try upload(tensor)
    }

    func upload(_ source: Quantized<HostTensor>) throws(OperatorError) -> Quantized<DeviceTensor> {
        Quantized(codes: try upload(source.codes), scales: try upload(source.scales), granularity: source.granularity)
    }
}
