import CUDA
import Tensors

/// What a product that becomes heads needs beside its operands.
package struct LayerHeadArguments {
    /// Factors of the norms of queries and keys, which must not be written by work in the stream. [2, D] fp32
    package let weights: DeviceTensor
    /// Radians a position, likewise. [D / 2] fp32
    package let frequencies: DeviceTensor
    /// [M] int32
    package let positions: DeviceTensor
    package let epsilon: Float

    package init(weights: DeviceTensor, frequencies: DeviceTensor, positions: DeviceTensor, epsilon: Float) {
        self.weights = weights
        self.frequencies = frequencies
        self.positions = positions
        self.epsilon = epsilon
    }
}

/// The products of layers that a context has compiled. Shapes are the caller's own and not checked but by the maps.
package final class LayerGEMMKernels: Sendable {
    private let context: OperatorContext
    private let kernels = LoadedKernels<LayerGEMMVariant>()

    /// - Throws: ``OperatorError`` with code `unavailable` on another GPU than Hopper.
    package init(_ context: OperatorContext) throws(OperatorError) {
        try context.check(.hopper, "layerGEMM")
        self.context = context
    }

    /// C = heads of A B^T, all bf16: a [M, K], b [N, K], c [M, N], each without gaps but for the rows of a.
    ///
    /// - Parameter rowSums: Sums of squares of A's rows, [M, parts] fp32; nil where A is normed already.
    package func multiply(
        _ a: DeviceTensor, rowSums: DeviceTensor?, _ b: DeviceTensor, into c: DeviceTensor, queryHeads: Int, keyHeads: Int, headSize: Int,
        _ heads: LayerHeadArguments
    ) throws(OperatorError) {
        let variant = LayerGEMMVariant(
            .heads(size: headSize, query: queryHeads, key: keyHeads), .bfloat16(sumParts: rowSums?.shape[1] ?? 0), columns: c.shape[1])
        try run(variant, a, b, into: c, rowScales: rowSums, columnScales: nil, outputScales: nil, heads)
    }

    /// C = epilogue(A B^T): a codes [M, K] with a scale for each row, K a multiple of 16; weights codes [N, K] with a scale for each row, or one in all
    /// where C is gated or heads. c [M, N] bf16, or, gated, [M, N / 2] codes whose scales `outputScales` [M] the caller gives: they must bound the result.
    ///
    /// The tensor cores' own sums: ``Float8Accumulation/fast``.
    package func multiply(
        _ a: DeviceTensor, scales: DeviceTensor, _ weights: Quantized<DeviceTensor>, into c: DeviceTensor, epilogue: LayerEpilogue,
        outputScales: DeviceTensor? = nil, heads: LayerHeadArguments? = nil
    ) throws(OperatorError) {
        let variant = LayerGEMMVariant(
            epilogue, .codes(hasColumnScales: weights.granularity == .row), columns: weights.codes.elementCount / max(1, a.shape[1]))
        try run(variant, a, weights.codes, into: c, rowScales: scales, columnScales: weights.scales, outputScales: outputScales, heads)
    }

    private func run(
        _ variant: LayerGEMMVariant, _ a: DeviceTensor, _ b: DeviceTensor, into c: DeviceTensor, rowScales: DeviceTensor?,
        columnScales: DeviceTensor?, outputScales: DeviceTensor?, _ heads: LayerHeadArguments?
    ) throws(OperatorError) {
        let (m, k) = (a.shape[0], a.shape[1])
        let n = b.elementCount / max(1, k)
        guard m > 0, n > 0 else { return }
        let loaded = try kernels.kernel(variant, in: context)
        let choice = variant.configuration
        func tiles(_ count: Int, _ size: Int) -> Int { (count + size - 1) / size }
        let configuration = LaunchConfiguration(
            grid: Extent(min(context.device.multiprocessorCount, tiles(m, choice.tileM) * tiles(n, choice.tileN))),
            block: Extent(variant.threadCount), sharedByteCount: variant.sharedByteCount, isProgrammatic: context.overlapsLaunches)
        try OperatorError.wrap("layerGEMM") { () throws(CUDAError) in
            func map(
                _ tensor: DeviceTensor, _ columns: Int, _ rows: Int, stride: Int, _ box: [Int], _ swizzle: TensorMap.Swizzle
            ) throws(CUDAError) -> TensorMap {
                try TensorMap(
                    tensor.address, element: TensorMap.Element(tensor.dtype), sizes: [columns, rows],
                    strides: [stride * tensor.dtype.byteCount], box: box, swizzle: swizzle, promotion: .bytes256, context: context.context)
            }
            let columns = c.shape[1]
            let mapA = try map(a, k, m, stride: a.strides[0], [variant.depth, choice.tileM], .bytes128)
            let mapB = try map(b, k, n, stride: k, [variant.depth, choice.tileN], .bytes128)
            let mapC = try map(c, columns, m, stride: columns, [variant.shape.chunkColumns, 64], variant.shape.chunkSwizzle)
            func address(_ tensor: DeviceTensor?) -> DeviceAddress { tensor?.address ?? DeviceAddress(bits: 0) }
            guard variant.isFused else {
                try loaded.kernel.launch(
                    configuration, on: context.stream, mapA, mapB, mapC, TensorMap.unused, c.address, address(rowScales), address(columnScales),
                    address(nil), address(outputScales), Int32(m), Int32(n), Int32(k), Int64(columns))
                return
            }
            try loaded.kernel.launch(
                configuration, on: context.stream, mapA, mapB, mapC, TensorMap.unused, c.address, address(rowScales), address(columnScales),
                address(nil), address(outputScales), Int32(m), Int32(n), Int32(k), Int64(columns), address(heads?.weights),
                address(heads?.frequencies), address(heads?.positions), heads?.epsilon ?? 0)
        }
    }
}
