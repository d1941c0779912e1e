import CUDA
import Tensors

extension OperatorContext {
    /// The kernels for every GPU: tensor cores for 16 and 8 bits, plain arithmetic for fp32.
    func launchGeneric(_ problem: GEMMProblem, _ arguments: GEMMArguments) throws(OperatorError) -> DeviceTensor {
        let operation = problem.operation
        var weights = arguments.b
        if problem.isGated, let up = arguments.up { weights = try packGatedWeights(gate: arguments.b, up: up).tensor }
        defer { extendLifetime(weights) }
        // The kernels write a column for every packed row of gate, the zeros behind the last one too: those need room of their own.
        let columns = problem.isGated ? problem.weightRows / 2 : problem.n
        let isPadded = columns != problem.n
        let padded: DeviceTensor? = isPadded ? try tensor(problem.outputType, problem.shape.dropLast() + [columns]) : nil
        let result: DeviceTensor
        if let padded, arguments.output == nil {
            result = try padded.slice(problem.shape.count - 1, 0..<problem.n)
        } else {
            result = try output(operation, arguments.output, problem.outputType, problem.shape)
        }
        let target = padded ?? result
        try launch(problem, arguments, weights: weights, target: target, columns: columns)
        if let padded, arguments.output != nil { try copyRows(problem, from: padded, columns: columns, to: result) }
        return result
    }

    private func launch(
        _ problem: GEMMProblem, _ arguments: GEMMArguments, weights: DeviceTensor, target: DeviceTensor, columns: Int
    ) throws(OperatorError) {
        let none = DeviceAddress(bits: 0)
        let sizes = (m: Int32(problem.m), n: Int32(problem.weightRows), k: Int32(problem.k))
        let strides = (a: Int64(problem.stride), b: Int64(problem.k), c: Int64(columns), residual: Int64(problem.n))
        let bias = arguments.bias?.address ?? none
        let residual = arguments.residual?.address ?? none
        func tiles(_ count: Int, _ size: Int) -> Int { (count + size - 1) / size }
        guard problem.inputType != .float32 else {
            guard tiles(problem.m, 64) <= 65535 else {
                throw .argument(problem.operation, "the number of rows", expected: "at most \(65535 * 64) of fp32", actual: "\(problem.m)")
            }
            let loaded = try floatProducts.kernel(FloatGEMMVariant(problem), in: self)
            return try OperatorError.wrap(problem.operation) { () throws(CUDAError) in
                try loaded.kernel.launch(
                    LaunchConfiguration(grid: Extent(tiles(problem.weightRows, 64), tiles(problem.m, 64)), block: 256), on: stream,
                    arguments.a.address, weights.address, target.address, residual, bias, sizes.m, sizes.n, sizes.k, strides.a, strides.b,
                    strides.c, strides.residual)
            }
        }
        let variant = GenericGEMMVariant(problem, arguments, weights: weights)
        let loaded = try genericProducts.kernel(variant, in: self)
        try OperatorError.wrap(problem.operation) { () throws(CUDAError) in
            try loaded.kernel.launch(
                LaunchConfiguration(
                    grid: Extent(tiles(problem.m, 128) * tiles(problem.weightRows, 128)), block: 256,
                    sharedByteCount: variant.sharedByteCount,
                    isProgrammatic: overlapsLaunches), on: stream, arguments.a.address, weights.address, target.address, residual,
                arguments.rowScales?.address ?? none, arguments.columnScales?.address ?? none, bias, sizes.m, sizes.n, sizes.k, strides.a,
                strides.b, strides.c, strides.residual)
        }
    }

    /// Takes the padding out of a result, row by row.
    private func copyRows(
        _ problem: GEMMProblem, from padded: DeviceTensor, columns: Int, to result: DeviceTensor
    ) throws(OperatorError) {
        let size = problem.outputType.byteCount
        try OperatorError.wrap(problem.operation) { () throws(CUDAError) in
            for row in 0..<problem.m {
                try stream.copy(
                    padded.region.slice(at: row * columns * size, byteCount: problem.n * size),
                    to: result.region.slice(at: row * problem.n * size, byteCount: problem.n * size))
            }
        }
    }
}
