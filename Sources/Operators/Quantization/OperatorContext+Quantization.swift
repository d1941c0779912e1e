import CUDA
public import Tensors

extension OperatorContext {
    /// Codes of 8 bits and scales: code = cast(x * (maximum of the format / max |x|)), scale = max |x| / maximum, so that value = code * scale.
    ///
    /// x: [..., C] fp16, bf16 or fp32, rows evenly spaced. The codes are real E4M3 or E5M2 in x's shape; the scales are fp32 on the GPU: [1], [rows] or
    /// [C] by granularity. A tensor, row or column of zeros has the scale 1. NaN becomes NaN and does not count for the maximum. Rounding to nearest
    /// even. With given scales code = cast(x / scale); they are taken as they are, since a look at them would wait for the GPU.
    ///
    /// Source: Micikevicius et al., arXiv 2209.05433. Roof: x once and the codes once per row, x twice per tensor or column.
    /// - Parameters:
    ///   - scales: Given scales, fp32, contiguous.
    ///   - path: Both paths are one kernel here.
    public func quantize(
        _ x: DeviceTensor, scales: DeviceTensor? = nil, format: Float8Format = .e4m3, granularity: QuantizationGranularity = .tensor,
        overflow: Float8Overflow = .saturate, path: KernelPath = .automatic
    ) throws(OperatorError) -> Quantized<DeviceTensor> {
        let problem = try QuantizationProblem(quantize: x, scales: scales, format: format, granularity: granularity, on: place)
        try check(path, "quantize")
        let codes = try tensor(format.dtype, problem.shape)
        let results: DeviceTensor
        if let scales { results = scales } else { results = try tensor(.float32, [problem.scaleCount]) }
        try launch(problem, x, codes, results, isGiven: scales != nil, overflow: overflow)
        return Quantized(codes: codes, scales: results, granularity: granularity)
    }

    /// Quantises with one scale, and doubles it until every value fits the format.
    ///
    /// **Waits for the GPU** once: it reads the largest magnitude. Throws ``OperatorError/Code/overflow`` with the largest value, the last scale and
    /// the number of attempts. For values whose range is not known to be tame; ``quantize(_:scales:format:granularity:overflow:path:)`` never overflows
    /// and never waits.
    /// - Parameter scale: The first scale, such as one of a calibration; max |x| / maximum when nil.
    public func quantizeHandlingOverflow(
        _ x: DeviceTensor, scale: Float? = nil, format: Float8Format = .e4m3, maximumAttempts: Int = 3
    ) throws(OperatorError) -> Quantized<DeviceTensor> {
        try CPUReference.checkAttempts(maximumAttempts)
        let problem = try QuantizationProblem(quantize: x, scales: nil, format: format, granularity: .tensor, on: place)
        let largest = try largestMagnitude(problem, x)
        var search = try ScaleSearch(scale ?? (largest > 0 ? largest / format.maximum : 1), format, maximumAttempts)
        while try !search.accepts(largest) {}
        let scales = try tensor(.float32, [1])
        let chosen = [search.scale]
        try OperatorError.wrap("quantize") { () throws(CUDAError) in try stream.upload(chosen, to: scales.region) }
        return try quantize(x, scales: scales, format: format)
    }

    /// The values that codes and scales stand for, in fp16, bf16 or fp32: [..., C].
    ///
    /// Roof: the codes once, the values once.
    public func dequantize(
        _ source: Quantized<DeviceTensor>, as dtype: DType = .bfloat16, path: KernelPath = .automatic, into output: DeviceTensor? = nil
    ) throws(OperatorError) -> DeviceTensor {
        let problem = try QuantizationProblem(dequantize: source, as: dtype, on: place)
        try check(path, "dequantize")
        let result = try self.output("dequantize", output, dtype, problem.shape)
        guard !problem.isEmpty else { return result }
        let variant = QuantizeVariant(.dequantize, problem, values: result, codes: source.codes, codeStride: problem.stride)
        let loaded = try quantizers.kernel(variant, in: self)
        try OperatorError.wrap("dequantize") { () throws(CUDAError) in
            try loaded.kernel.launch(
                wide(8), on: stream, source.codes.address, source.scales.address, result.address, Int32(problem.rows),
                Int32(problem.columns), Int64(problem.stride), Int64(problem.columns))
        }
        return result
    }
}

extension OperatorContext {
    /// A grid of some blocks for every multiprocessor, which the kernels walk over the tensor with.
    private func wide(_ blocks: Int) -> LaunchConfiguration {
        LaunchConfiguration(grid: Extent(device.multiprocessorCount * blocks), block: 256, isProgrammatic: overlapsLaunches)
    }

    private func launch(
        _ problem: QuantizationProblem, _ x: DeviceTensor, _ codes: DeviceTensor, _ scales: DeviceTensor, isGiven: Bool,
        overflow: Float8Overflow
    ) throws(OperatorError) {
        let none = DeviceAddress(bits: 0)
        guard !problem.isEmpty else {
            // What has no elements has no maximum: the scale of zeros.
            guard !isGiven else { return }
            return try OperatorError.wrap("quantize") { () throws(CUDAError) in
                try stream.fill(scales.region, withWord: Float(1).bitPattern)
            }
        }
        func variant(_ kind: QuantizeVariant.Entry) -> QuantizeVariant {
            QuantizeVariant(
                kind, problem, values: x, codes: codes, codeStride: problem.columns, overflow: overflow, isGiven: isGiven)
        }
        let sizes = (rows: Int32(problem.rows), columns: Int32(problem.columns))
        if problem.granularity == .row, !isGiven {
            let loaded = try quantizers.kernel(variant(.rows), in: self)
            let grid = min(problem.rows, device.multiprocessorCount * loaded.residentBlocks)
            return try OperatorError.wrap("quantize") { () throws(CUDAError) in
                try loaded.kernel.launch(
                    LaunchConfiguration(grid: Extent(grid), block: 256, isProgrammatic: overlapsLaunches), on: stream, x.address, codes.address,
                    scales.address, sizes.rows,
                    sizes.columns, Int64(problem.stride), Int64(problem.columns))
            }
        }
        let maxima = isGiven ? nil : try maxima(problem, x, codes)
        defer { extendLifetime(maxima) }
        let loaded = try quantizers.kernel(variant(.quantize), in: self)
        try OperatorError.wrap("quantize") { () throws(CUDAError) in
            try loaded.kernel.launch(
                wide(8), on: stream, x.address, codes.address, maxima?.address ?? none, scales.address, none, sizes.rows, sizes.columns,
                Int64(problem.stride), Int64(problem.columns))
        }
    }

    /// max |x| for each scale, on the GPU.
    private func maxima(
        _ problem: QuantizationProblem, _ x: DeviceTensor, _ codes: DeviceTensor?
    ) throws(OperatorError) -> DeviceTensor {
        let maxima = try tensor(.float32, [problem.scaleCount])
        let variant = QuantizeVariant(.maximum, problem, values: x, codes: codes, codeStride: problem.columns)
        let loaded = try quantizers.kernel(variant, in: self)
        try OperatorError.wrap("quantize") { () throws(CUDAError) in
            try stream.fill(maxima.region, withWord: 0)
            try loaded.kernel.launch(
                wide(problem.granularity == .column ? 2 : 8), on: stream, x.address, maxima.address, Int32(problem.rows),
                Int32(problem.columns), Int64(problem.stride))
        }
        return maxima
    }

    /// max |x| of the tensor, on the host.
    private func largestMagnitude(_ problem: QuantizationProblem, _ x: DeviceTensor) throws(OperatorError) -> Float {
        guard !problem.isEmpty else { return 0 }
        let maxima = try maxima(problem, x, nil)
        return try OperatorError.wrap("quantize") { () throws(CUDAError) in try stream.download(Float.self, from: maxima.region)[0] }
    }
}
