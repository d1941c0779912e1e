public import Tensors

#if canImport(Musl)
    import Musl
#else
    import Glibc
#endif

extension CPUReference {
    /// ``OperatorContext/gemm(_:_:bias:activation:residual:outputType:path:into:)`` on the CPU.
    public static func gemm(
        _ a: HostTensor, _ b: HostTensor, bias: HostTensor? = nil, activation: Activation? = nil, residual: HostTensor? = nil,
        outputType: DType? = nil
    ) throws(OperatorError) -> HostTensor {
        let problem = try GEMMProblem(
            gemm: a, b, bias: bias, activation: activation, residual: residual, outputType: outputType, on: .host)
        let values = try product(problem, a, b, bias: bias, residual: residual)
        return try tensor("gemm", values, problem.outputType, problem.shape)
    }

    /// ``OperatorContext/gatedMLP(_:gate:up:activation:path:into:)`` on the CPU.
    public static func gatedMLP(
        _ x: HostTensor, gate: HostTensor, up: HostTensor, activation: Activation = .silu
    ) throws(OperatorError) -> HostTensor {
        let problem = try GEMMProblem(gatedMLP: x, gate: gate, up: up, activation: activation, on: .host)
        return try tensor("gatedMLP", gated(problem, x, gate, up), problem.outputType, problem.shape)
    }

    /// A gemm before it is rounded.
    static func product(
        _ problem: GEMMProblem, _ a: HostTensor, _ b: HostTensor, bias: HostTensor?, residual: HostTensor?
    ) throws(OperatorError) -> [Double] {
        var values = multiply(problem, try doubles(problem.operation, a), try doubles(problem.operation, b))
        let bias = try bias.map { (tensor) throws(OperatorError) in try doubles(problem.operation, tensor) }
        let residual = try residual.map { (tensor) throws(OperatorError) in try doubles(problem.operation, tensor) }
        for index in values.indices {
            if let bias { values[index] += bias[index % problem.n] }
            if let activation = problem.activation { values[index] = activation(values[index]) }
            if let residual { values[index] += residual[index] }
        }
        return values
    }

    /// A gated MLP before it is rounded.
    static func gated(
        _ problem: GEMMProblem, _ x: HostTensor, _ gate: HostTensor, _ up: HostTensor
    ) throws(OperatorError) -> [Double] {
        let x = try doubles(problem.operation, x)
        let gates = multiply(problem, x, try doubles(problem.operation, gate))
        let ups = multiply(problem, x, try doubles(problem.operation, up))
        let activation = problem.activation ?? .silu
        return zip(gates, ups).map { activation($0) * $1 }
    }

    /// [m, k] times the transpose of [n, k].
    static func multiply(_ problem: GEMMProblem, _ a: [Double], _ b: [Double]) -> [Double] {
        var result = [Double](repeating: 0, count: problem.m * problem.n)
        for row in 0..<problem.m {
            for column in 0..<problem.n {
                result[row * problem.n + column] = dot(a, row * problem.k, b, column * problem.k, problem.k)
            }
        }
        return result
    }
}

extension Activation {
    /// The function itself, in double precision.
    func callAsFunction(_ x: Double) -> Double {
        switch self {
        case .silu: x / (1 + exp(-x))
        case .geluErf: x * 0.5 * (1 + erf(x * 0.5.squareRoot()))
        case .geluTanh: x * 0.5 * (1 + tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
        }
    }
}
