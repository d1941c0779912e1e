import CUDA
import Tensors

extension OperatorContext {
    /// Why Hopper's kernel cannot take a product; nil where it can.
    func hopperObstacle(_ problem: GEMMProblem, _ arguments: GEMMArguments) -> String? {
        guard isHopper() else { return "\(device) has compute capability \(device.computeCapability)" }
        guard problem.inputType != .float32 else { return "fp32 operands" }
        let size = problem.inputType.byteCount
        guard problem.k * size % 16 == 0 else { return "K = \(problem.k) is no multiple of \(16 / size)" }
        guard problem.stride * size % 16 == 0 else { return "rows of the first operand do not lie a multiple of 16 bytes apart" }
        for operand in [arguments.a, arguments.b] where operand.address.bits % 16 != 0 { return "an operand is not aligned to 16 bytes" }
        for pairs in [arguments.bias, arguments.columnScales] where (pairs?.address.bits ?? 0) % 8 != 0 {
            return "bias or scales are not aligned to 8 bytes"
        }
        if problem.hasResidual, !isTiled(problem, arguments.output) || !isTiled(problem, arguments.residual) {
            return "a residual with rows of \(problem.n) \(problem.outputType), which are no multiple of 16 bytes"
        }
        return nil
    }

    /// True when the copy engine can read or write the tensor as the result; memory that is yet to be made is aligned.
    private func isTiled(_ problem: GEMMProblem, _ tensor: DeviceTensor?) -> Bool {
        (tensor?.address.bits ?? 0) % 16 == 0 && problem.n * problem.outputType.byteCount % 16 == 0
    }

    /// The tuned form where there is one that fits, else the usual one.
    private func variant(_ problem: GEMMProblem, _ arguments: GEMMArguments, storesDirectly: Bool) -> HopperGEMMVariant? {
        let usual = GEMMConfiguration.best(problem)
        func make(_ configuration: GEMMConfiguration) -> HopperGEMMVariant? {
            HopperGEMMVariant(
                problem, configuration, arguments, storesDirectly: storesDirectly, sharedByteLimit: device.sharedByteCountPerBlock)
        }
        guard let values = tuning.choice(problem.tuningKey), var tuned = GEMMConfiguration(values) else { return make(usual) }
        // How sums of fp8 are added up is part of the result, not of the speed.
        tuned.promotion = usual.promotion
        return make(tuned) ?? make(usual)
    }

    func launchHopper(_ problem: GEMMProblem, _ arguments: GEMMArguments) throws(OperatorError) -> DeviceTensor {
        let operation = problem.operation
        let result = try output(operation, arguments.output, problem.outputType, problem.shape)
        guard let variant = variant(problem, arguments, storesDirectly: !isTiled(problem, result)) else {
            throw .unavailable(operation, "\(device) has too little shared memory for its kernel")
        }
        let loaded = try hopperProducts.kernel(variant, in: self)
        let pair = try gatePair(problem, arguments)
        defer { extendLifetime(pair) }
        let choice = variant.configuration
        let columns = problem.isGated ? 2 * problem.n : problem.n
        func tiles(_ count: Int, _ size: Int) -> Int { (count + size - 1) / size }
        let clusterTiles = tiles(problem.m, choice.tileM * choice.clusterM) * tiles(columns, choice.tileN * choice.clusterN)
        let grid = min(device.multiprocessorCount / variant.clusterCount, clusterTiles) * variant.clusterCount
        let none = DeviceAddress(bits: 0)
        try OperatorError.wrap(operation) { () throws(CUDAError) in
            let maps = try maps(variant, problem, arguments, pair, result)
            try loaded.kernel.launch(
                LaunchConfiguration(
                    grid: Extent(grid), block: Extent(variant.threadCount),
                    cluster: variant.clusterCount > 1 ? Extent(variant.clusterCount) : nil, sharedByteCount: variant.sharedByteCount,
                    isProgrammatic: overlapsLaunches),
                on: stream, maps.a, maps.b, maps.c, maps.residual, result.address, arguments.rowScales?.address ?? none,
                arguments.columnScales?.address ?? none, arguments.bias?.address ?? none, none, Int32(problem.m), Int32(columns),
                Int32(problem.k), Int64(problem.n))
        }
        return result
    }

    private func maps(
        _ variant: HopperGEMMVariant, _ problem: GEMMProblem, _ arguments: GEMMArguments, _ pair: GatePair?, _ result: DeviceTensor
    ) throws(CUDAError) -> (a: TensorMap, b: TensorMap, c: TensorMap, residual: TensorMap) {
        let choice = variant.configuration
        let size = problem.inputType.byteCount
        let element = TensorMap.Element(problem.inputType)
        let row = problem.k * size
        let inner = 128 / size
        func map(
            _ address: DeviceAddress, _ element: TensorMap.Element, _ sizes: [Int], _ strides: [Int], _ box: [Int],
            _ swizzle: TensorMap.Swizzle
        ) throws(CUDAError) -> TensorMap {
            try TensorMap(
                address, element: element, sizes: sizes, strides: strides, box: box, swizzle: swizzle, promotion: .bytes256, context: context)
        }
        let a = try map(
            arguments.a.address, element, [problem.k, problem.m], [problem.stride * size], [inner, choice.tileM / choice.clusterN],
            .bytes128)
        var boxRows = choice.tileN / choice.clusterM
        if boxRows > 256 { boxRows /= 2 }
        let b =
            if let pair {
                try map(
                    pair.gate, element, [problem.k, 8, 2, problem.weightRows / 16], [row, pair.upOffset, 8 * row],
                    [inner, 8, 2, boxRows / 16], .bytes128)
            } else {
                try map(arguments.b.address, element, [problem.k, problem.weightRows], [row], [inner, boxRows], .bytes128)
            }
        func resultMap(_ tensor: DeviceTensor) throws(CUDAError) -> TensorMap {
            try map(
                tensor.address, TensorMap.Element(problem.outputType), [problem.n, problem.m],
                [problem.n * problem.outputType.byteCount], [variant.shape.chunkColumns, 64], variant.shape.chunkSwizzle)
        }
        let c = variant.storesDirectly ? TensorMap.unused : try resultMap(result)
        guard let residual = arguments.residual else { return (a, b, c, .unused) }
        return (a, b, c, try resultMap(residual))
    }
}

/// Where the copy engine finds gate and up, so that it can interleave them eight rows at a time.
private struct GatePair {
    let gate: DeviceAddress
    /// Bytes from a row of gate to the same row of up.
    let upOffset: Int
    /// A padded copy, where one was needed; it lives until the launch is in the stream.
    let copy: DeviceTensor?
}

extension OperatorContext {
    /// Nil for a product that is not gated, or whose weights are packed.
    ///
    /// Weights are taken where they are when the rows come in whole groups of eight and up lies behind gate. Otherwise they are copied side by side
    /// into memory of the stream, padded with zero rows: 2 I H elements read and written each time.
    private func gatePair(_ problem: GEMMProblem, _ arguments: GEMMArguments) throws(OperatorError) -> GatePair? {
        guard problem.isGated, let up = arguments.up else { return nil }
        let gate = arguments.b
        let distance = Int64(bitPattern: up.address.bits &- gate.address.bits)
        if problem.n % 8 == 0, distance > 0, distance < 1 << 40, distance % 16 == 0 {
            return GatePair(gate: gate.address, upOffset: Int(distance), copy: nil)
        }
        let rows = problem.weightRows / 2
        let copy = try tensor(gate.dtype, [2, rows, problem.k])
        let half = rows * problem.k * gate.dtype.byteCount
        let used = problem.n * problem.k * gate.dtype.byteCount
        try OperatorError.wrap(problem.operation) { () throws(CUDAError) in
            for (index, source) in [gate, up].enumerated() {
                try stream.copy(source.region, to: copy.region.slice(at: index * half, byteCount: used))
                try stream.fill(copy.region.slice(at: index * half + used, byteCount: half - used))
            }
        }
        return GatePair(gate: copy.address, upOffset: half, copy: copy)
    }
}
