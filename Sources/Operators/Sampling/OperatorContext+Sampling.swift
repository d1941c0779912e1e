import CUDA
public import Tensors

// What decoding needs between logits and a token. Rows of the last dimension, evenly spaced; both paths are one kernel.
extension OperatorContext {
    /// exp((x - max x) / temperature) / sum, row by row.
    ///
    /// x: [..., C] fp16, bf16 or fp32; the result has its shape, in its type or another of these. A row with a NaN, or of minus infinities only, becomes NaN.
    /// Computed in fp32. Roof: x once from memory and once from L2, the result once.
    public func softmax(
        _ x: DeviceTensor, temperature: Float = 1, outputType: DType? = nil, path: KernelPath = .automatic, into output: DeviceTensor? = nil
    ) throws(OperatorError) -> DeviceTensor {
        let problem = try RowProblem("softmax", x, temperature: temperature, on: place)
        let type = outputType ?? x.dtype
        try ArgumentCheck("softmax", on: place).output(type)
        try check(path, "softmax")
        let result = try self.output("softmax", output, type, x.shape)
        guard !problem.isEmpty else { return result }
        let (columns, stride, resultStride) = (Int32(problem.columns), Int64(problem.stride), Int64(problem.columns))
        let cut = RowCut(problem, multiprocessors: device.multiprocessorCount)
        guard cut.pieces > 1 else {
            let loaded = try rowKernels.kernel(RowVariant(.softmax, problem, [x, result], output: type), in: self)
            try OperatorError.wrap("softmax") { () throws(CUDAError) in
                try loaded.kernel.launch(
                    LaunchConfiguration(grid: Extent(problem.rows), block: 1024), on: stream, x.address, result.address, 1 / temperature, columns,
                    stride, resultStride)
            }
            return result
        }
        let parts = try tensor(.float32, [problem.rows, cut.pieces, 2])
        defer { extendLifetime(parts) }
        let first = try rowKernels.kernel(RowVariant(.softmaxPieces, problem, [x, result], output: type), in: self)
        let second = try rowKernels.kernel(RowVariant(.softmaxFinish, problem, [x, result], output: type), in: self)
        try OperatorError.wrap("softmax") { () throws(CUDAError) in
            try first.kernel.launch(
                LaunchConfiguration(grid: Extent(problem.rows * cut.pieces), block: 1024), on: stream, x.address, parts.address, 1 / temperature,
                columns, stride, Int32(cut.pieces), Int32(cut.columns))
            try second.kernel.launch(
                LaunchConfiguration(grid: Extent(problem.rows * cut.pieces), block: 1024, isProgrammatic: true), on: stream, x.address,
                result.address, parts.address, 1 / temperature, columns, stride, resultStride, Int32(cut.pieces), Int32(cut.columns))
        }
        return result
    }

    /// The index of the largest entry of each row, int32 [...]: the lowest among equals; a NaN counts as the largest.
    public func argmax(
        _ x: DeviceTensor, path: KernelPath = .automatic, into output: DeviceTensor? = nil
    ) throws(OperatorError) -> DeviceTensor {
        let problem = try RowProblem("argmax", x, on: place)
        try check(path, "argmax")
        let indices = try self.output("argmax", output, .int32, Array(x.shape.dropLast()))
        guard !problem.isEmpty else { return indices }
        let (columns, stride) = (Int32(problem.columns), Int64(problem.stride))
        let cut = RowCut(problem, multiprocessors: device.multiprocessorCount)
        guard cut.pieces > 1 else {
            let loaded = try rowKernels.kernel(RowVariant(.argmax, problem, [x], output: x.dtype), in: self)
            try OperatorError.wrap("argmax") { () throws(CUDAError) in
                try loaded.kernel.launch(
                    LaunchConfiguration(grid: Extent(problem.rows), block: 1024), on: stream, x.address, indices.address, columns, stride)
            }
            return indices
        }
        let parts = try entries(problem.rows * cut.pieces)
        defer { extendLifetime(parts) }
        let first = try rowKernels.kernel(RowVariant(.argmaxPieces, problem, [x], output: x.dtype), in: self)
        let second = try rowKernels.kernel(RowVariant(.argmaxFinish, problem, [x], output: x.dtype), in: self)
        try OperatorError.wrap("argmax") { () throws(CUDAError) in
            try first.kernel.launch(
                LaunchConfiguration(grid: Extent(problem.rows * cut.pieces), block: 1024), on: stream, x.address, parts.address, columns, stride,
                Int32(cut.pieces), Int32(cut.columns))
            try second.kernel.launch(
                LaunchConfiguration(grid: Extent(problem.rows), block: 32, isProgrammatic: true), on: stream, parts.address, indices.address,
                Int32(cut.pieces))
        }
        return indices
    }

    /// The largest entries of each row and their indices, falling: fp32 and int32, [..., count].
    ///
    /// The lower index comes first among equals, zero before minus zero, NaN before all numbers. count: at most the columns and 1,024. The entries are
    /// those of x as they are: softmax of them is the softmax of the row cut to its top k.
    public func topK(
        _ x: DeviceTensor, count: Int, path: KernelPath = .automatic, into output: (values: DeviceTensor, indices: DeviceTensor)? = nil
    ) throws(OperatorError) -> (values: DeviceTensor, indices: DeviceTensor) {
        let problem = try RowProblem("topK", x, count: count, on: place)
        try check(path, "topK")
        let shape = Array(x.shape.dropLast()) + [count]
        let values = try self.output("topK", output?.values, .float32, shape)
        let indices = try self.output("topK", output?.indices, .int32, shape)
        guard !problem.isEmpty, count > 0 else { return (values, indices) }
        let (columns, stride) = (Int32(problem.columns), Int64(problem.stride))
        let cut = RowCut(problem, count: count, multiprocessors: device.multiprocessorCount)
        guard cut.pieces > 1 else {
            let loaded = try rowKernels.kernel(RowVariant(.topK, problem, [x], output: x.dtype, count: count), in: self)
            try OperatorError.wrap("topK") { () throws(CUDAError) in
                try loaded.kernel.launch(
                    LaunchConfiguration(grid: Extent(problem.rows), block: 1024), on: stream, x.address, indices.address, values.address,
                    Int32(count), columns, stride)
            }
            return (values, indices)
        }
        let parts = try entries(problem.rows * cut.pieces * count)
        defer { extendLifetime(parts) }
        let first = try rowKernels.kernel(RowVariant(.topKPieces, problem, [x], output: x.dtype, count: count), in: self)
        let second = try rowKernels.kernel(RowVariant(.topKFinish, problem, [x], output: x.dtype, count: count), in: self)
        try OperatorError.wrap("topK") { () throws(CUDAError) in
            try first.kernel.launch(
                LaunchConfiguration(grid: Extent(problem.rows * cut.pieces), block: 1024), on: stream, x.address, parts.address, Int32(count),
                columns, stride, Int32(cut.pieces), Int32(cut.columns))
            try second.kernel.launch(
                LaunchConfiguration(grid: Extent(problem.rows), block: 1024, isProgrammatic: true), on: stream, parts.address, indices.address,
                values.address, Int32(count), Int32(cut.pieces))
        }
        return (values, indices)
    }

    /// Room for entries of 64 bits.
    private func entries(_ count: Int) throws(OperatorError) -> DeviceTensor { try tensor(.int32, [count, 2]) }
}
