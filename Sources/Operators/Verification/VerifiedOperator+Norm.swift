import Tensors

extension VerifiedOperator {
    static var normCases: [VerifiedOperator] { [rmsNorm, rmsNormAdding, ropeOfRows, ropeOfHeads] }

    /// fp16 1e-3, bf16 8e-3 with 1e-5 absolute; fp32 to its own precision.
    static func normTolerance(_ dtype: DType) -> Tolerance {
        switch dtype {
        case .float16: Tolerance(absolute: 1e-5, relative: 1e-3)
        case .bfloat16: Tolerance(absolute: 1e-5, relative: 8e-3)
        default: Tolerance(absolute: 1e-6, relative: 1e-5)
        }
    }

    /// Rows as many as keep the case small.
    private static func rows(_ random: inout SeededRandom, of hidden: Int) -> Int { random.size(upTo: max(1, min(8192, (1 << 20) / hidden))) }

    private static func hidden(_ random: inout SeededRandom) -> Int {
        random.choose([1, 31, 33, 128, 255, 256, 513, 640, 648, 1000, 1024, 2048, 2560, 4096, 5120, 8192, 11008])
    }

    private static let rmsNorm = VerifiedOperator("rmsNorm") { (random, path) throws(OperatorError) in
        let (dtype, weightType, width) = (random.floatType(), random.floatType(), hidden(&random))
        let count = rows(&random, of: width)
        let unitOffset = random.chance(0.5)
        var x = try random.tensor([count, width], dtype, scale: random.choose([0.1, 1, 10]))
        if random.plantsNaN() { x = try x.planting(random.choose([.nan, .infinity]), at: random.integer(0...count * width - 1)) }
        let weight = try random.tensor([width], weightType, scale: 0.5, around: unitOffset ? 0 : 1)
        let gaps = random.chance(0.3) ? (random.integer(0...17), random.integer(0...17)) : (0, 0)
        let problem = try NormProblem(rmsNorm: x, weight: weight, epsilon: 1e-6, unitOffset: unitOffset, on: .host)
        let expected = try CPUReference.norm(problem, x, weight, tables: nil, positions: nil)
        let input = x
        return VerificationCase(
            description: "[\(count), \(width)] \(dtype), weight \(weightType), 1+w \(unitOffset), gaps \(gaps)",
            expected: [.init("y", expected, normTolerance(dtype))]
        ) { (context) throws(OperatorError) in
            let x = try context.uploadSlice(input, before: gaps.0, after: gaps.1)
            let y = try context.rmsNorm(x, weight: context.upload(weight), unitOffset: unitOffset, path: path)
            return [try context.download(y)]
        }
    }

    private static let rmsNormAdding = VerifiedOperator("rmsNorm of a sum") { (random, path) throws(OperatorError) in
        let (dtype, width) = (random.floatType(), hidden(&random))
        let count = rows(&random, of: width)
        let x = try random.tensor([count, width], dtype)
        let residual = try random.tensor([count, width], dtype)
        let weight = try random.tensor([width], dtype, scale: 0.5, around: 1)
        let problem = try NormProblem(rmsNorm: x, weight: weight, residual: residual, epsilon: 1e-6, unitOffset: false, on: .host)
        let sum = try CPUReference.rmsNormAdding(x, residual: residual, weight: weight).sum
        let normalized = try CPUReference.norm(problem, sum, weight, tables: nil, positions: nil)
        return VerificationCase(
            description: "[\(count), \(width)] \(dtype)",
            expected: [
                .init("y", normalized, normTolerance(dtype)), .init("sum", try CPUReference.doubles("rmsNorm", sum), .exact),
            ]
        ) { (context) throws(OperatorError) in
            let result = try context.rmsNormAdding(
                context.upload(x), residual: context.upload(residual), weight: context.upload(weight), path: path)
            return [try context.download(result.normalized), try context.download(result.sum)]
        }
    }

    private static let ropeOfRows = VerifiedOperator("rmsNormRoPE of rows") { (random, path) throws(OperatorError) in
        let head = random.choose([32, 64, 80, 96, 128, 256])
        return try rope(&random, path, head: head, heads: 1, hidden: head * random.choose([1, 2, 4, 5, 8, 16, 32]), scope: .row)
    }

    private static let ropeOfHeads = VerifiedOperator("rmsNormRoPE of heads") { (random, path) throws(OperatorError) in
        let head = random.choose([2, 6, 32, 64, 80, 96, 128, 256])
        return try rope(&random, path, head: head, heads: random.choose([1, 2, 3, 4, 8, 16, 24]), hidden: head, scope: .head)
    }

    private static func rope(
        _ random: inout SeededRandom, _ path: KernelPath, head: Int, heads: Int, hidden: Int, scope: NormScope
    ) throws(OperatorError) -> VerificationCase {
        let (dtype, tableType) = (random.floatType(), random.floatType())
        let batch = random.integer(1...8)
        let length = rows(&random, of: hidden * heads * batch)
        let unitOffset = random.chance(0.5)
        let shape = [batch, length] + (scope == .head ? [heads, head] : [hidden])
        var x = try random.tensor(shape, dtype, scale: random.choose([0.1, 1, 10]))
        if random.plantsNaN() { x = try x.planting(.nan, at: random.integer(0...x.elementCount - 1)) }
        let weight = try random.tensor([hidden], random.floatType(), scale: 0.5, around: unitOffset ? 0 : 1)
        let usesPositions = random.chance(0.4)
        let tableLength = usesPositions ? random.integer(1...600) : length
        let tableShape = random.chance(0.5) ? [tableLength, head] : [1, tableLength, 1, head]
        let tables = (
            cosine: try random.tensor(tableShape, tableType), sine: try random.tensor(tableShape, tableType)
        )
        let positions = usesPositions ? (0..<batch * length).map { _ in Int32(random.integer(0...tableLength - 1)) } : nil
        // The heads of a fused projection: other heads before and behind them in each token.
        let fused = scope == .head && random.chance(0.4) ? (random.integer(0...2) * head, random.integer(1...2) * head) : (0, 0)
        let problem = try NormProblem(
            rmsNormRoPE: x, weight: weight, cosine: tables.cosine, sine: tables.sine, positionCount: positions?.count, scope: scope,
            headCount: nil, epsilon: 1e-6, unitOffset: unitOffset, on: .host)
        let expected = try CPUReference.norm(problem, x, weight, tables: tables, positions: positions)
        let input = x
        return VerificationCase(
            description:
                "\(shape) \(dtype), D \(head), tables \(tableShape) \(tableType), positions \(usesPositions), 1+w \(unitOffset), fused \(fused)",
            expected: [.init("y", expected, normTolerance(dtype))]
        ) { (context) throws(OperatorError) in
            var x = try context.upload(input)
            if scope == .head, fused != (0, 0) {
                let flat = try OperatorError.wrapFile("random") { () throws(TensorError) in
                    try HostTensor(dtype: dtype, shape: [batch, length, heads * head], data: input.data)
                }
                x = try context.uploadSlice(flat, before: fused.0, after: fused.1).split(2, into: (heads, head))
            }
            let y = try context.rmsNormRoPE(
                x, weight: context.upload(weight), cosine: context.upload(tables.cosine), sine: context.upload(tables.sine),
                positions: positions, scope: scope, unitOffset: unitOffset, path: path)
            return [try context.download(y)]
        }
    }
}
