public import Tensors

extension CPUReference {
    /// ``OperatorContext/rmsNorm(_:weight:epsilon:unitOffset:path:into:)`` on the CPU.
    public static func rmsNorm(
        _ x: HostTensor, weight: HostTensor, epsilon: Float = 1e-6, unitOffset: Bool = false
    ) throws(OperatorError) -> HostTensor {
        let problem = try NormProblem(rmsNorm: x, weight: weight, epsilon: epsilon, unitOffset: unitOffset, on: .host)
        let values = try norm(problem, x, weight, tables: nil, positions: nil)
        return try tensor("rmsNorm", values, x.dtype, x.shape)
    }

    /// ``OperatorContext/rmsNormAdding(_:residual:weight:epsilon:unitOffset:path:)`` on the CPU.
    public static func rmsNormAdding(
        _ x: HostTensor, residual: HostTensor, weight: HostTensor, epsilon: Float = 1e-6, unitOffset: Bool = false
    ) throws(OperatorError) -> (normalized: HostTensor, sum: HostTensor) {
        let problem = try NormProblem(
            rmsNorm: x, weight: weight, residual: residual, epsilon: epsilon, unitOffset: unitOffset, on: .host)
        let sums = try zip(doubles("rmsNorm", x), doubles("rmsNorm", residual)).map { $0 + $1 }
        let sum = try tensor("rmsNorm", sums, x.dtype, x.shape)
        let values = try norm(problem, sum, weight, tables: nil, positions: nil)
        return (try tensor("rmsNorm", values, x.dtype, x.shape), sum)
    }

    /// ``OperatorContext/rmsNormRoPE(_:weight:cosine:sine:positions:scope:headCount:epsilon:unitOffset:path:into:)`` on the CPU.
    public static func rmsNormRoPE(
        _ x: HostTensor, weight: HostTensor, cosine: HostTensor, sine: HostTensor, positions: [Int32]? = nil, scope: NormScope = .row,
        headCount: Int? = nil, epsilon: Float = 1e-6, unitOffset: Bool = false
    ) throws(OperatorError) -> HostTensor {
        let problem = try NormProblem(
            rmsNormRoPE: x, weight: weight, cosine: cosine, sine: sine, positionCount: positions?.count, scope: scope,
            headCount: headCount, epsilon: epsilon, unitOffset: unitOffset, on: .host)
        let values = try norm(problem, x, weight, tables: (cosine, sine), positions: positions)
        return try tensor("rmsNormRoPE", values, x.dtype, x.shape)
    }

    /// The result before it is rounded.
    static func norm(
        _ problem: NormProblem, _ x: HostTensor, _ weight: HostTensor, tables: (cosine: HostTensor, sine: HostTensor)?, positions: [Int32]?
    ) throws(OperatorError) -> [Double] {
        if let positions, let rotation = problem.rotation { try NormProblem.check(positions, rotation.positions) }
        var values = try doubles("rmsNorm", x)
        let factors = try doubles("rmsNorm", weight).map { problem.unitOffset ? 1 + $0 : $0 }
        let row = problem.row
        for start in stride(from: 0, to: problem.rowCount * row, by: max(1, row)) {
            var squares = 0.0
            for index in 0..<row { squares += values[start + index] * values[start + index] }
            let scale = 1 / (squares / Double(row) + Double(problem.epsilon)).squareRoot()
            for index in 0..<row { values[start + index] *= scale * factors[index] }
        }
        guard let rotation = problem.rotation, let tables, problem.rowCount > 0 else { return values }
        let cosine = try doubles("rmsNormRoPE", tables.cosine)
        let sine = try doubles("rmsNormRoPE", tables.sine)
        let width = problem.heads * row
        for token in 0..<problem.tokens {
            let position = positions.map { Int($0[token]) } ?? token % rotation.positions
            rotate(&values[token * width..<(token + 1) * width], rotation, cosine, sine, row: position * rotation.head)
        }
        return values
    }

    /// Turns every head of one token: elements i and i + D/2 by the angle of the table's column i.
    private static func rotate(
        _ values: inout ArraySlice<Double>, _ rotation: RotationProblem, _ cosine: [Double], _ sine: [Double], row: Int
    ) {
        let half = rotation.head / 2
        for head in stride(from: values.startIndex, to: values.endIndex, by: rotation.head) {
            for index in 0..<half {
                let (a, b) = (values[head + index], values[head + index + half])
                let (c, s) = (cosine[row + index], sine[row + index])
                values[head + index] = a * c - b * s
                values[head + index + half] = b * c + a * s
            }
        }
    }
}
