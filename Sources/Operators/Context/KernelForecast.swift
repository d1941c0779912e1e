package import CUDA
package import Tensors

/// The kernels that operators will ask for at shapes to come, so that they can be compiled ahead. Nothing of it touches the GPU.
///
/// Tensors are taken to lie as new ones do, and choices to be the operators' own, not tuned ones.
package struct KernelForecast: Sendable {
    private let takesHopper: Bool
    private let sharedByteLimit: Int

    package init(_ context: OperatorContext, path: KernelPath) {
        takesHopper = path != .generic && context.isHopper()
        sharedByteLimit = context.device.sharedByteCountPerBlock
    }

    /// Products of so many rows, at the sizes at which the choice may change, with weights [columns, inner].
    package func gemm(
        rows: [Int], inner: Int, columns: Int, hasBias: Bool = false, _ dtype: DType = .bfloat16
    ) throws(OperatorError) -> [KernelForm] {
        let b = try OperatorKernels.tensor(dtype, [columns, inner])
        let bias: DeviceTensor? = hasBias ? try OperatorKernels.tensor(.float32, [columns]) : nil
        var forms: [KernelForm] = []
        for count in rows {
            let a = try OperatorKernels.tensor(dtype, [count, inner])
            let problem = try GEMMProblem(gemm: a, b, bias: bias, activation: nil, residual: nil, outputType: nil, on: .device(0))
            if let form = form(problem, GEMMArguments(a: a, b: b, bias: bias)) { forms.append(form) }
        }
        return forms
    }

    /// Likewise with packed weights for so many columns of gate and of up.
    package func gatedMLP(rows: [Int], inner: Int, columns: Int, _ activation: Activation) throws(OperatorError) -> [KernelForm] {
        let gate = try OperatorKernels.tensor(.bfloat16, [columns, inner])
        var forms: [KernelForm] = []
        for count in rows {
            let a = try OperatorKernels.tensor(.bfloat16, [count, inner])
            let problem = try GEMMProblem(gatedMLP: a, gate: gate, up: gate, activation: activation, on: .device(0))
            if let form = form(problem, GEMMArguments(a: a, b: gate, isPacked: true)) { forms.append(form) }
        }
        return forms
    }

    private func form(_ problem: GEMMProblem, _ arguments: GEMMArguments) -> KernelForm? {
        guard problem.inputType != .float32 else { return KernelForm(FloatGEMMVariant(problem)) }
        let size = problem.outputType.byteCount
        guard takesHopper, problem.k * size % 16 == 0 else { return KernelForm(GenericGEMMVariant(problem, arguments, weights: arguments.b)) }
        return HopperGEMMVariant(
            problem, .best(problem), arguments, storesDirectly: problem.n * size % 16 != 0, sharedByteLimit: sharedByteLimit
        ).map { KernelForm($0) }
    }

    /// Attention of bf16 over sequences of up to `longest` tokens, alone and in batches of up to `tokens`, each by its own length.
    package func attention(
        tokens: Int, longest: Int, queryHeads: Int, keyHeads: Int, head: Int, mask: AttentionMask
    ) throws(OperatorError) -> [KernelForm] {
        var forms: [KernelForm] = []
        for length in HopperAttentionVariant.bounds.map({ max(1, $0) }) where length <= longest {
            for lengths in [[length], [length] + [Int](repeating: 1, count: max(0, tokens - length))] {
                let count = lengths.reduce(0, +)
                let k = try OperatorKernels.tensor(.bfloat16, [count, keyHeads, head])
                let problem = try AttentionProblem(
                    OperatorKernels.tensor(.bfloat16, [count, queryHeads, head]), k, k, lengths: SequenceLengths(lengths), mask: mask, scale: nil,
                    on: .device(0))
                guard takesHopper else { return [KernelForm(GenericAttentionVariant(problem))] }
                forms += HopperAttentionVariant.choices(problem, isInvariant: true).map { KernelForm($0.variant) }
            }
        }
        return forms
    }

    /// Norm and rotation of the heads of a fused projection.
    package func normAndRotate(queryHeads: Int, keyHeads: Int, head: Int, unitOffset: Bool) throws(OperatorError) -> KernelForm {
        let table = try OperatorKernels.tensor(.float32, [1, head])
        let problem = try NormProblem(
            rmsNormRoPE: OperatorKernels.tensor(.bfloat16, [1, queryHeads + keyHeads, head]), weight: OperatorKernels.tensor(.float32, [head]),
            cosine: table, sine: table, positionCount: 1, scope: .head, headCount: nil, epsilon: 1e-6, unitOffset: unitOffset, on: .device(0))
        var variant = NormVariant(problem, alignments: [])
        variant.split = queryHeads
        return KernelForm(variant)
    }

    /// Codes of bf16 matrices with so many columns.
    package func quantize(columns: Int, _ granularity: QuantizationGranularity) throws(OperatorError) -> [KernelForm] {
        let x = try OperatorKernels.tensor(.bfloat16, [64, columns])
        let problem = try QuantizationProblem(quantize: x, scales: nil, format: .e4m3, granularity: granularity, on: .device(0))
        return (granularity == .row ? [QuantizeVariant.Entry.rows] : [.maximum, .quantize]).map {
            KernelForm(QuantizeVariant($0, problem, values: x, codes: nil, codeStride: columns))
        }
    }
}

extension OperatorContext {
    /// Compiles kernels side by side, in this order, as ``CompilationsAhead`` has it. They are loaded when they are first launched.
    package func compileAhead(_ forms: [KernelForm]) throws(OperatorError) -> CompilationsAhead {
        var requests: [KernelRequest] = []
        // Reading a source takes milliseconds, and there are few of them.
        var sources: [String: KernelSource] = [:]
        var known: [String: Set<KernelConstants>] = [:]
        for form in forms where known[form.path, default: []].insert(form.constants).inserted {
            let source: KernelSource
            if let read = sources[form.path] {
                source = read
            } else {
                source = try OperatorError.wrap(form.entry) { () throws(CUDAError) in try compiler.library.source(form.path) }
                sources[form.path] = source
            }
            requests.append(KernelRequest(source, constants: form.constants))
        }
        return CompilationsAhead(requests, by: compiler, for: architecture)
    }
}
