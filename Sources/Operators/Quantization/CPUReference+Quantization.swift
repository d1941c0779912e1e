public import Tensors

extension CPUReference {
    /// ``OperatorContext/quantize(_:scales:format:granularity:overflow:path:)`` on the CPU, bit for bit. Given scales are checked here.
    public static func quantize(
        _ x: HostTensor, scales: HostTensor? = nil, format: Float8Format = .e4m3, granularity: QuantizationGranularity = .tensor,
        overflow: Float8Overflow = .saturate
    ) throws(OperatorError) -> Quantized<HostTensor> {
        let problem = try QuantizationProblem(quantize: x, scales: scales, format: format, granularity: granularity, on: .host)
        let values = try floats("quantize", x)
        var given: [Float]?
        if let scales {
            let numbers = try floats("quantize", scales)
            for (index, scale) in numbers.enumerated() { try checkScale("quantize", "scales[\(index)]", scale) }
            given = numbers
        }
        let factors = given ?? maxima(problem, values)
        var codes: [Float] = []
        codes.reserveCapacity(values.count)
        for (index, value) in values.enumerated() {
            let factor = factors[scaleIndex(problem, index)]
            // The kernel's own arithmetic in fp32, so that the codes agree bit for bit.
            codes.append(given != nil ? value / factor : value * (factor > 0 ? format.maximum / factor : 1))
        }
        let results = given ?? factors.map { $0 > 0 ? $0 / format.maximum : 1 }
        return Quantized(
            codes: try encode(codes, problem, overflow),
            scales: try OperatorError.wrapFile("quantize") { () throws(TensorError) in
                try HostTensor(results, shape: [problem.scaleCount])
            }, granularity: granularity)
    }

    /// ``OperatorContext/quantizeHandlingOverflow(_:scale:format:maximumAttempts:)`` on the CPU.
    public static func quantizeHandlingOverflow(
        _ x: HostTensor, scale: Float? = nil, format: Float8Format = .e4m3, maximumAttempts: Int = 3
    ) throws(OperatorError) -> Quantized<HostTensor> {
        try checkAttempts(maximumAttempts)
        let problem = try QuantizationProblem(quantize: x, scales: nil, format: format, granularity: .tensor, on: .host)
        let largest = try floats("quantize", x).reduce(into: Float(0)) { $0 = max($0, $1.isNaN ? 0 : $1.magnitude) }
        var search = try ScaleSearch(scale ?? (largest > 0 ? largest / format.maximum : 1), format, maximumAttempts)
        while try !search.accepts(largest) {}
        let scales = try OperatorError.wrapFile("quantize") { () throws(TensorError) in try HostTensor([search.scale], shape: [1]) }
        return try quantize(x, scales: scales, format: problem.format)
    }

    /// ``OperatorContext/dequantize(_:as:path:into:)`` on the CPU.
    public static func dequantize(_ source: Quantized<HostTensor>, as dtype: DType = .float32) throws(OperatorError) -> HostTensor {
        let problem = try QuantizationProblem(dequantize: source, as: dtype, on: .host)
        let codes = try floats("dequantize", source.codes)
        let scales = try floats("dequantize", source.scales)
        let values = codes.enumerated().map { $1 * scales[scaleIndex(problem, $0)] }
        return try OperatorError.wrapFile("dequantize") { () throws(TensorError) in try HostTensor(values, shape: problem.shape, as: dtype) }
    }

    /// The largest magnitude that each scale has to cover. NaN does not count.
    private static func maxima(_ problem: QuantizationProblem, _ values: [Float]) -> [Float] {
        var maxima = [Float](repeating: 0, count: problem.scaleCount)
        for (index, value) in values.enumerated() where !value.isNaN {
            let place = scaleIndex(problem, index)
            maxima[place] = max(maxima[place], value.magnitude)
        }
        return maxima
    }

    private static func scaleIndex(_ problem: QuantizationProblem, _ element: Int) -> Int {
        switch problem.granularity {
        case .tensor: 0
        case .row: element / problem.columns
        case .column: element % problem.columns
        }
    }

    private static func encode(
        _ values: [Float], _ problem: QuantizationProblem, _ overflow: Float8Overflow
    ) throws(OperatorError) -> HostTensor {
        let bytes: [UInt8] =
            switch (problem.format, overflow) {
            case (.e4m3, .saturate): values.map { Float8E4M3(saturating: $0).bitPattern }
            case (.e4m3, .propagate): values.map { Float8E4M3(nonSaturating: $0).bitPattern }
            case (.e5m2, .saturate): values.map { Float8E5M2(saturating: $0).bitPattern }
            case (.e5m2, .propagate): values.map { Float8E5M2($0).bitPattern }
            }
        return try OperatorError.wrapFile("quantize") { () throws(TensorError) in
            try HostTensor(bytes: bytes, dtype: problem.format.dtype, shape: problem.shape)
        }
    }

    static func floats(_ operation: String, _ tensor: HostTensor) throws(OperatorError) -> [Float] {
        try OperatorError.wrapFile(operation) { () throws(TensorError) in try tensor.float32() }
    }

    static func checkScale(_ operation: String, _ name: String, _ scale: Float) throws(OperatorError) {
        guard scale > 0, scale.isFinite else {
            throw OperatorError(
                .scale, in: operation, tensor: name, expected: "a positive finite number", actual: "\(scale)",
                "\(name) is \(scale), expected a positive finite number")
        }
    }

    static func checkAttempts(_ attempts: Int) throws(OperatorError) {
        guard attempts > 0 else { throw .argument("quantize", "the number of attempts", expected: "1 and more", actual: "\(attempts)") }
    }
}
