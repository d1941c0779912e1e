import Tensors

extension VerifiedOperator {
    static var samplingCases: [VerifiedOperator] { [softmax, argmax, topK] }

    private static func logits(_ random: inout SeededRandom) throws(OperatorError) -> HostTensor {
        let columns = random.choose([1, 2, 31, 33, 129, 1000, 1024, 5000, 32001, 151_936])
        let rows = random.integer(1...max(1, min(40, 200_000 / columns)))
        var x = try random.tensor([rows, columns], random.floatType(), scale: random.choose([1, 5]))
        if random.plantsNaN() { x = try x.planting(random.choose([.nan, -.infinity]), at: random.integer(0...rows * columns - 1)) }
        return x
    }

    private static let softmax = VerifiedOperator("softmax") { (random, path) throws(OperatorError) in
        let x = try logits(&random)
        let temperature: Float = random.choose([1, 0.7, 2])
        let output = random.choose([x.dtype, .float32])
        let problem = try RowProblem("softmax", x, temperature: temperature, on: .host)
        let expected = try CPUReference.softmaxRows(problem, x, temperature)
        let tolerance: Tolerance =
            switch output {
            case .bfloat16: Tolerance(absolute: 1e-6, relative: 8e-3)
            case .float16: Tolerance(absolute: 1e-6, relative: 1e-3)
            default: Tolerance(absolute: 1e-7, relative: 5e-5)
            }
        return VerificationCase(
            description: "\(x.shape) \(x.dtype) to \(output), temperature \(temperature)", expected: [.init("y", expected, tolerance)]
        ) { (context) throws(OperatorError) in
            [try context.download(context.softmax(context.upload(x), temperature: temperature, outputType: output, path: path))]
        }
    }

    private static let argmax = VerifiedOperator("argmax") { (random, path) throws(OperatorError) in
        let x = try logits(&random)
        let problem = try RowProblem("argmax", x, on: .host)
        let expected = try CPUReference.best(problem, x, 1).indices.map(Double.init)
        return VerificationCase(description: "\(x.shape) \(x.dtype)", expected: [.init("indices", expected, .exact)]) {
            (context) throws(OperatorError) in
            [try context.download(context.argmax(context.upload(x), path: path))]
        }
    }

    private static let topK = VerifiedOperator("topK") { (random, path) throws(OperatorError) in
        let x = try logits(&random)
        let count = min(random.choose([1, 2, 31, 40, 64, 100, 1024]), x.shape[1])
        let problem = try RowProblem("topK", x, count: count, on: .host)
        let expected = try CPUReference.best(problem, x, count)
        return VerificationCase(
            description: "\(x.shape) \(x.dtype), \(count) entries",
            expected: [.init("values", expected.values, .exact), .init("indices", expected.indices.map(Double.init), .exact)]
        ) { (context) throws(OperatorError) in
            let result = try context.topK(context.upload(x), count: count, path: path)
            return [try context.download(result.values), try context.download(result.indices)]
        }
    }
}
