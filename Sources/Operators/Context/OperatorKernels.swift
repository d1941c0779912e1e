package import CUDA
import Tensors

/// One form of a kernel as it is handed to the compiler.
package struct KernelForm: Sendable {
    package let path: String
    package let entry: String
    package let constants: KernelConstants
    /// What it is for, in words.
    package let title: String

    package init(_ variant: some KernelVariant, _ title: String = "") {
        path = type(of: variant).path
        entry = variant.entry
        constants = variant.constants
        self.title = title
    }
}

/// The forms that the operators ask for at usual shapes, so that they can be compiled where there is no GPU.
package enum OperatorKernels {
    /// - Parameter architecture: Hopper's own kernels are among the forms for its architecture only.
    package static func representative(for architecture: Architecture) throws(OperatorError) -> [KernelForm] {
        var forms = try norms() + quantizers() + rows()
        for isHopper in [true, false] where !isHopper || architecture.computeCapability.major == 9 {
            forms += try products(isHopper) + attentions(isHopper)
        }
        return forms
    }

    /// The form that a tuned choice leads to, for aligned tensors without epilogue; nil where the choice is not legal.
    package static func form(_ values: [String: Int], for key: TuningKey) throws(OperatorError) -> KernelForm? {
        guard OperatorTuning.isLegal(values, for: key) else { return nil }
        let context = OperatorChoice(values: values, key: key)
        switch key.operation {
        case "rmsNorm", "rmsNormRoPE": return try context.norm()
        default: return try context.product()
        }
    }

    /// A tensor that stands for any with aligned rows.
    static func tensor(_ dtype: DType, _ shape: [Int]) throws(OperatorError) -> DeviceTensor {
        try DeviceTensor(DeviceRegion(address: DeviceAddress(bits: 4096), byteCount: Int.max / 32), ordinal: 0, dtype: dtype, shape: shape)
    }

    private static func norms() throws(OperatorError) -> [KernelForm] {
        var forms: [KernelForm] = []
        for (dtype, hidden) in [(DType.bfloat16, 640), (.bfloat16, 4096), (.float16, 4096), (.float32, 1024), (.bfloat16, 513)] {
            let weight = try tensor(dtype, [hidden])
            let problem = try NormProblem(
                rmsNorm: tensor(dtype, [64, hidden]), weight: weight, epsilon: 1e-6, unitOffset: false, on: .device(0))
            forms.append(KernelForm(NormVariant(problem, alignments: []), "norm of \(hidden) \(dtype)"))
        }
        for (scope, head) in [(NormScope.row, 64), (.head, 128), (.head, 256)] {
            let table = try tensor(.float32, [64, head])
            let shape = scope == .row ? [64, 4096] : [64, 5, head]
            let problem = try NormProblem(
                rmsNormRoPE: tensor(.bfloat16, shape), weight: tensor(.bfloat16, [shape[shape.count - 1]]), cosine: table, sine: table,
                positionCount: nil, scope: scope, headCount: nil, epsilon: 1e-6, unitOffset: true, on: .device(0))
            forms.append(KernelForm(NormVariant(problem, alignments: []), "norm and rotation of \(shape) by \(scope.rawValue)"))
        }
        return forms
    }

    private static func quantizers() throws(OperatorError) -> [KernelForm] {
        var forms: [KernelForm] = []
        for granularity in QuantizationGranularity.allCases {
            for columns in [4096, 33] {
                let x = try tensor(.bfloat16, [64, columns])
                let problem = try QuantizationProblem(
                    quantize: x, scales: nil, format: .e4m3, granularity: granularity, on: .device(0))
                for kind in granularity == .row ? [QuantizeVariant.Entry.rows, .dequantize] : [.maximum, .quantize, .dequantize] {
                    let variant = QuantizeVariant(kind, problem, values: x, codes: nil, codeStride: columns)
                    forms.append(KernelForm(variant, "\(kind.rawValue) of \(columns) by \(granularity.rawValue)"))
                }
            }
        }
        return forms
    }

    private static func rows() throws(OperatorError) -> [KernelForm] {
        let x = try tensor(.float32, [4, 151_936])
        let problem = try RowProblem("topK", x, on: .device(0))
        var forms: [KernelForm] = []
        for kind in RowVariant.Entry.allCases {
            forms.append(KernelForm(RowVariant(kind, problem, [x], output: .float32, count: 64), kind.rawValue))
        }
        return forms
    }

    private static func products(_ isHopper: Bool) throws(OperatorError) -> [KernelForm] {
        var forms: [KernelForm] = []
        func add(_ problem: GEMMProblem, _ arguments: GEMMArguments, _ title: String) {
            guard isHopper else {
                forms.append(KernelForm(GenericGEMMVariant(problem, arguments, weights: arguments.b), title))
                return
            }
            let variant = HopperGEMMVariant(
                problem, .best(problem), arguments, storesDirectly: problem.n % 8 != 0, sharedByteLimit: HopperGEMMShape.sharedByteLimit)
            if let variant { forms.append(KernelForm(variant, title)) }
        }
        let shapes = [(8192, 4096, 640, DType.bfloat16), (8192, 640, 1024, .bfloat16), (33, 640, 640, .float16), (500, 131, 640, .bfloat16)]
        for (m, n, k, dtype) in shapes {
            let (a, b) = (try tensor(dtype, [m, k]), try tensor(dtype, [n, k]))
            let problem = try GEMMProblem(
                gemm: a, b, bias: nil, activation: nil, residual: nil, outputType: n == 131 ? .float32 : nil, on: .device(0))
            add(problem, GEMMArguments(a: a, b: b), "product \(m) x \(n) x \(k) \(dtype)")
        }
        for isPacked in [true, false] {
            let (x, gate) = (try tensor(.bfloat16, [8192, 640]), try tensor(.bfloat16, [2048, 640]))
            let problem = try GEMMProblem(gatedMLP: x, gate: gate, up: gate, activation: .geluTanh, on: .device(0))
            add(problem, GEMMArguments(a: x, b: gate, up: gate, isPacked: isPacked), "gated product, packed \(isPacked)")
        }
        for (n, k) in [(1536, 640), (640, 2048)] {
            let scales = (try tensor(.float32, [8192]), try tensor(.float32, [n]))
            let a = Quantized(codes: try tensor(.float8E4M3, [8192, k]), scales: scales.0, granularity: .row)
            let b = Quantized(codes: try tensor(.float8E4M3, [n, k]), scales: scales.1, granularity: .row)
            var problem = try GEMMProblem(fp8Gemm: a, b, bias: nil, outputType: .bfloat16, on: .device(0))
            let arguments = GEMMArguments(a: a.codes, b: b.codes, rowScales: a.scales, columnScales: b.scales)
            add(problem, arguments, "fp8 product, N \(n), K \(k)")
            guard isHopper else { continue }
            problem.promotes = false
            add(problem, arguments, "fp8 product with fast sums, N \(n), K \(k)")
        }
        if !isHopper {
            let a = try tensor(.float32, [64, 64])
            let problem = try GEMMProblem(gemm: a, a, bias: nil, activation: nil, residual: nil, outputType: nil, on: .device(0))
            forms.append(KernelForm(FloatGEMMVariant(problem), "product of fp32"))
        }
        return forms
    }

    private static func attentions(_ isHopper: Bool) throws(OperatorError) -> [KernelForm] {
        var forms: [KernelForm] = []
        for (head, group, length) in [
            (64, 1, 512), (128, 2, 512), (128, 1, 128), (128, 2, 128), (64, 1, 4096), (256, 4, 128), (256, 4, 512), (256, 4, 8192),
        ] {
            let q = try tensor(.bfloat16, [length, group, head])
            let k = try tensor(.bfloat16, [length, 1, head])
            let problem = try AttentionProblem(q, k, k, lengths: nil, mask: .causal, scale: nil, on: .device(0))
            let title = "attention, D \(head), \(group) heads a key head, length \(length)"
            forms.append(
                isHopper
                    ? KernelForm(HopperAttentionVariant(problem, longest: length), title) : KernelForm(GenericAttentionVariant(problem), title))
        }
        return forms
    }
}

/// A tuned choice on its way to the compiler.
private struct OperatorChoice {
    let values: [String: Int]
    let key: TuningKey

    func norm() throws(OperatorError) -> KernelForm? {
        let (row, head) = (key.sizes[0], key.sizes[1])
        let x = try OperatorKernels.tensor(key.inputType, [64, row])
        let weight = try OperatorKernels.tensor(key.inputType, [row])
        let table = try OperatorKernels.tensor(key.inputType, [64, max(2, head)])
        let problem =
            if head == 0 {
                try NormProblem(rmsNorm: x, weight: weight, epsilon: 1e-6, unitOffset: false, on: .device(0))
            } else {
                try NormProblem(
                    rmsNormRoPE: x, weight: weight, cosine: table, sine: table, positionCount: nil, scope: .row, headCount: nil,
                    epsilon: 1e-6, unitOffset: false, on: .device(0))
            }
        var variant = NormVariant(problem, alignments: [])
        if let configuration = NormConfiguration(values) { variant.configuration = configuration }
        return KernelForm(variant, "\(key), tuned")
    }

    func product() throws(OperatorError) -> KernelForm? {
        let (m, n, k) = (key.sizes[0], key.sizes[1], key.sizes[2])
        let a = try OperatorKernels.tensor(key.inputType, [m, k])
        let b = try OperatorKernels.tensor(key.inputType, [n, k])
        var arguments = GEMMArguments(a: a, b: b, isPacked: true)
        var problem: GEMMProblem
        switch key.operation {
        case "gatedMLP": problem = try GEMMProblem(gatedMLP: a, gate: b, up: b, activation: .silu, on: .device(0))
        case "fp8Gemm", "fp8GemmFast":
            let scales = (try OperatorKernels.tensor(.float32, [m]), try OperatorKernels.tensor(.float32, [n]))
            problem = try GEMMProblem(
                fp8Gemm: Quantized(codes: a, scales: scales.0, granularity: .row),
                Quantized(codes: b, scales: scales.1, granularity: .row), bias: nil, outputType: key.outputType, on: .device(0))
            problem.promotes = key.operation == "fp8Gemm"
            arguments.rowScales = scales.0
            arguments.columnScales = scales.1
        default:
            problem = try GEMMProblem(
                gemm: a, b, bias: nil, activation: nil, residual: nil, outputType: key.outputType, on: .device(0))
        }
        guard var configuration = GEMMConfiguration(values) else { return nil }
        configuration.promotion = GEMMConfiguration.best(problem).promotion
        let variant = HopperGEMMVariant(
            problem, configuration, arguments, storesDirectly: false, sharedByteLimit: HopperGEMMShape.sharedByteLimit)
        return variant.map { KernelForm($0, "\(key), tuned") }
    }
}
