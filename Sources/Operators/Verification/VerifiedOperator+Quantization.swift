import Tensors

extension VerifiedOperator {
    static var quantizationCases: [VerifiedOperator] { [quantize, dequantize] }

    /// Codes and scales bit for bit.
    private static let quantize = VerifiedOperator("quantize") { (random, path) throws(OperatorError) in
        let dtype = random.floatType()
        let format = random.choose(Float8Format.allCases)
        let granularity = random.choose(QuantizationGranularity.allCases)
        let columns = random.choose([1, 16, 31, 33, 127, 128, 640, 1000, 1024, 4096, 5008, 8192, 20000])
        let rows = random.size(upTo: max(1, min(1000, (1 << 19) / columns)))
        let overflow = random.choose(Float8Overflow.allCases)
        var x = try random.tensor([rows, columns], dtype, scale: random.choose([1e-3, 1, 30]))
        if random.plantsNaN() { x = try x.planting(.nan, at: random.integer(0...rows * columns - 1)) }
        if random.chance(0.2) { x = try random.tensor([rows, columns], dtype, scale: 0) }
        let count = granularity == .tensor ? 1 : granularity == .row ? rows : columns
        let isGiven = random.chance(0.3)
        let given = isGiven ? try random.tensor([count], .float32, scale: 1e-4, around: random.choose([0.001, 0.02])) : nil
        let gap = random.choose([0, 0, 1, 16])
        let input = x
        let expected = try CPUReference.quantize(x, scales: given, format: format, granularity: granularity, overflow: overflow)
        return VerificationCase(
            description:
                "[\(rows), \(columns)] \(dtype) to \(format.rawValue) by \(granularity.rawValue), scales given \(isGiven), \(overflow.rawValue), gap \(gap)",
            expected: [
                .init("codes", expected.codes.byteArray.map(Double.init), .exact),
                .init("scales", try CPUReference.doubles("quantize", expected.scales), .exact),
            ]
        ) { (context) throws(OperatorError) in
            let result = try context.quantize(
                context.uploadSlice(input, before: gap, after: gap), scales: context.optional(given), format: format,
                granularity: granularity, overflow: overflow, path: path)
            return [try context.download(result.codes.reinterpreted(as: .uint8)), try context.download(result.scales)]
        }
    }

    private static let dequantize = VerifiedOperator("dequantize") { (random, path) throws(OperatorError) in
        let format = random.choose(Float8Format.allCases)
        let granularity = random.choose(QuantizationGranularity.allCases)
        let dtype = random.floatType()
        let columns = random.choose([1, 16, 31, 33, 128, 256, 640, 1000, 4096])
        let rows = random.size(upTo: max(1, min(1000, (1 << 18) / columns)))
        let bytes = (0..<rows * columns).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        let count = granularity == .tensor ? 1 : granularity == .row ? rows : columns
        let scales = try random.tensor([count], .float32, scale: 1e-3, around: 0.02)
        let codes = try OperatorError.wrapFile("random") { () throws(TensorError) in
            try HostTensor(bytes: bytes, dtype: format.dtype, shape: [rows, columns])
        }
        let source = Quantized(codes: codes, scales: scales, granularity: granularity)
        let expected = try CPUReference.dequantize(source, as: dtype)
        return VerificationCase(
            description: "[\(rows), \(columns)] \(format.rawValue) to \(dtype) by \(granularity.rawValue)",
            expected: [.init("x", try CPUReference.doubles("dequantize", expected), .exact)]
        ) { (context) throws(OperatorError) in
            [try context.download(context.dequantize(context.upload(source), as: dtype, path: path))]
        }
    }
}
