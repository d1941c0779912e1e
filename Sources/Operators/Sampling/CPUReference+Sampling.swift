public import Tensors

extension CPUReference {
    /// ``OperatorContext/softmax(_:temperature:outputType:path:into:)`` on the CPU.
    public static func softmax(
        _ x: HostTensor, temperature: Float = 1, outputType: DType? = nil
    ) throws(OperatorError) -> HostTensor {
        let problem = try RowProblem("softmax", x, temperature: temperature, on: .host)
        try ArgumentCheck("softmax", on: .host).output(outputType ?? x.dtype)
        return try tensor("softmax", softmaxRows(problem, x, temperature), outputType ?? x.dtype, x.shape)
    }

    /// The result before it is rounded.
    static func softmaxRows(_ problem: RowProblem, _ x: HostTensor, _ temperature: Float) throws(OperatorError) -> [Double] {
        let values = try doubles("softmax", x)
        var result: [Double] = []
        result.reserveCapacity(values.count)
        for row in 0..<(problem.isEmpty ? 0 : problem.rows) {
            var scores = values[row * problem.columns..<(row + 1) * problem.columns].map { $0 / Double(temperature) }
            softmax(&scores)
            result += scores
        }
        return result
    }

    /// ``OperatorContext/topK(_:count:path:into:)`` on the CPU.
    public static func topK(_ x: HostTensor, count: Int) throws(OperatorError) -> (values: HostTensor, indices: HostTensor) {
        let problem = try RowProblem("topK", x, count: count, on: .host)
        let chosen = try best(problem, x, count)
        let shape = Array(problem.shape.dropLast()) + [count]
        return (try tensor("topK", chosen.values, .float32, shape), try indices("topK", chosen.indices, shape))
    }

    /// ``OperatorContext/argmax(_:path:into:)`` on the CPU.
    public static func argmax(_ x: HostTensor) throws(OperatorError) -> HostTensor {
        let problem = try RowProblem("argmax", x, on: .host)
        return try indices("argmax", best(problem, x, 1).indices, Array(problem.shape.dropLast()))
    }

    /// The largest entries of each row, falling; the lower index first among equals, NaN above all numbers.
    static func best(_ problem: RowProblem, _ x: HostTensor, _ count: Int) throws(OperatorError) -> (values: [Double], indices: [Int32]) {
        let values = try doubles(problem.operation, x)
        var result: (values: [Double], indices: [Int32]) = ([], [])
        for row in 0..<(problem.isEmpty ? 0 : problem.rows) {
            let first = row * problem.columns
            func precedes(_ a: Int, _ b: Int) -> Bool {
                let (x, y) = (values[first + a], values[first + b])
                if x.isNaN || y.isNaN { return x.isNaN && (!y.isNaN || a < b) }
                return x > y || (x == y && precedesAmongEquals(x, y, a, b))
            }
            for index in (0..<problem.columns).sorted(by: precedes).prefix(count) {
                result.values.append(values[first + index])
                result.indices.append(Int32(index))
            }
        }
        return result
    }

    /// Zero comes before minus zero, then the lower index.
    private static func precedesAmongEquals(_ x: Double, _ y: Double, _ a: Int, _ b: Int) -> Bool {
        x.sign == y.sign ? a < b : x.sign == .plus
    }

    private static func indices(_ operation: String, _ values: [Int32], _ shape: [Int]) throws(OperatorError) -> HostTensor {
        let bytes = values.flatMap { value in (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
        return try OperatorError.wrapFile(operation) { () throws(TensorError) in
            try HostTensor(bytes: bytes, dtype: .int32, shape: shape)
        }
    }
}

extension ArgumentCheck {
    /// The type of a result.
    func output(_ dtype: DType) throws(OperatorError) {
        try type(Operand("output", TensorDescription(dtype, [], on: place)), Self.floats)
    }
}
