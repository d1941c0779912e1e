package import CUDA
import Tensors

/// What a product of 8-bit codes in a transformer layer leaves.
package enum Float8LayerEpilogue: Hashable, Sendable {
    /// The product in bf16.
    case plain
    /// The product's columns are heads, in bf16: queries and keys normed each and rotated.
    case heads(size: Int, query: Int, key: Int)
    /// act(gate) * up of packed weights, in codes again. silu and tanh-gelu.
    case gated(Activation)
}

/// One form of Kernels/Operators/GemmHopper.cu for codes of E4M3, each row of A with a scale of its own.
package struct Float8LayerVariant: KernelVariant {
    package static let path = "Operators/GemmHopper.cu"
    package let entry = "apus_gemm_hopper"

    let epilogue: Float8LayerEpilogue
    /// B has one scale for each of its rows, and one in all otherwise.
    let hasColumnScales: Bool
    let configuration: GEMMConfiguration

    package init(_ epilogue: Float8LayerEpilogue, hasColumnScales: Bool, columns: Int) {
        self.epilogue = epilogue
        self.hasColumnScales = hasColumnScales
        configuration = Self.configuration(epilogue, hasColumnScales: hasColumnScales, columns: columns)
    }

    /// Tiles that divide the columns: 640 are four of 160.
    private static func configuration(_ epilogue: Float8LayerEpilogue, hasColumnScales: Bool, columns: Int) -> GEMMConfiguration {
        if case .gated = epilogue { return GEMMConfiguration(tileM: 128, tileN: 192, stages: 4, isPingPong: true, group: 4, staging: 6) }
        // As those of bf16: whole heads in a tile.
        if case .heads(256, _, _) = epilogue { return GEMMConfiguration(tileM: 64, tileN: 256, stages: 4, isPingPong: true) }
        if case .heads = epilogue { return GEMMConfiguration(tileM: 128, tileN: 128, stages: 5, isPingPong: true) }
        if columns <= 1280, columns % 160 == 0 { return GEMMConfiguration(tileM: 128, tileN: 160, stages: 5, isPingPong: true) }
        // With scales of columns 192 spill.
        if columns % 192 == 0, !hasColumnScales { return GEMMConfiguration(tileM: 128, tileN: 192, stages: 4, isPingPong: true, staging: 3) }
        return GEMMConfiguration(tileM: 128, tileN: 128, stages: 6, isPingPong: true)
    }

    private var isGated: Bool { if case .gated = epilogue { true } else { false } }
    private var headSize: Int { if case .heads(let size, _, _) = epilogue { size } else { 0 } }
    /// Whether the kernel has the parameters of norms.
    var isFused: Bool { headSize > 0 }
    private var output: DType { isGated ? .float8E4M3 : .bfloat16 }

    var shape: HopperGEMMShape { HopperGEMMShape(configuration, output: output, isGated: isGated, storesDirectly: false) }
    package var threadCount: Int { 128 * (1 + configuration.consumers) }
    package var sharedByteCount: Int { shape.sharedByteCount + 10 * headSize }

    package var constants: KernelConstants {
        var constants = KernelConstants([
            "GEMM_TILE_M": configuration.tileM, "GEMM_TILE_N": configuration.tileN, "GEMM_STAGES": configuration.stages,
            "GEMM_CONSUMERS": configuration.consumers, "GEMM_PINGPONG": configuration.isPingPong ? 1 : 0, "GEMM_GROUP": configuration.group,
            "GEMM_STAGING": configuration.staging, "GEMM_INPUT": DType.float8E4M3.kernelNumber, "GEMM_OUTPUT": output.kernelNumber,
            "GEMM_GATED": isGated ? 1 : 0, "GEMM_ROW_SCALE": 2, "GEMM_COLUMN_SCALE": hasColumnScales ? 2 : 1,
        ])
        if case .gated(let activation) = epilogue { constants.define("GEMM_ACTIVATION", activation.kernelNumber) }
        if case .heads(let size, let query, let key) = epilogue {
            constants.define("GEMM_HEAD", size)
            constants.define("GEMM_QUERY_HEADS", query)
            constants.define("GEMM_KEY_HEADS", key)
            constants.define("GEMM_EARLY", 1)
        }
        return constants
    }
}

/// What a product of codes that become heads needs beside them.
package struct Float8HeadArguments {
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

/// The products of codes that a context has compiled.
package final class Float8LayerKernels: Sendable {
    private let context: OperatorContext
    private let kernels = LoadedKernels<Float8LayerVariant>()

    /// - Throws: ``OperatorError`` with code `unavailable` on another GPU than Hopper.
    package init(_ context: OperatorContext) throws(OperatorError) {
        try context.check(.hopper, "float8LayerGEMM")
        self.context = context
    }

    /// C = epilogue(A B^T): a codes [M, K] with a scale for each row, K a multiple of 16; weights codes [N, K] with a scale for each row, or one in all
    /// where C is gated or heads. c [M, N] bf16, or, gated, [M, N / 2] codes whose scales `outputScales` [M] the caller gives: they must bound the result.
    ///
    /// The tensor cores' own sums: ``Float8Accumulation/fast``. Shapes are the caller's own and not checked but by the maps.
    package func multiply(
        _ a: DeviceTensor, scales: DeviceTensor, _ weights: Quantized<DeviceTensor>, into c: DeviceTensor, epilogue: Float8LayerEpilogue,
        outputScales: DeviceTensor? = nil, heads: Float8HeadArguments? = nil
    ) throws(OperatorError) {
        let (m, k) = (a.shape[0], a.shape[1])
        let n = weights.codes.elementCount / max(1, k)
        guard m > 0, n > 0 else { return }
        let variant = Float8LayerVariant(epilogue, hasColumnScales: weights.granularity == .row, columns: n)
        let loaded = try kernels.kernel(variant, in: context)
        let choice = variant.configuration
        func tiles(_ count: Int, _ size: Int) -> Int { (count + size - 1) / size }
        let configuration = LaunchConfiguration(
            grid: Extent(min(context.device.multiprocessorCount, tiles(m, choice.tileM) * tiles(n, choice.tileN))),
            block: Extent(variant.threadCount), sharedByteCount: variant.sharedByteCount, isProgrammatic: context.overlapsLaunches)
        try OperatorError.wrap("float8LayerGEMM") { () throws(CUDAError) in
            func map(
                _ tensor: DeviceTensor, _ columns: Int, _ rows: Int, _ box: [Int], _ swizzle: TensorMap.Swizzle
            ) throws(CUDAError) -> TensorMap {
                try TensorMap(
                    tensor.address, element: TensorMap.Element(tensor.dtype), sizes: [columns, rows],
                    strides: [columns * tensor.dtype.byteCount], box: box, swizzle: swizzle, promotion: .bytes256, context: context.context)
            }
            let none = DeviceAddress(bits: 0)
            let maps = (
                a: try map(a, k, m, [128, choice.tileM], .bytes128), b: try map(weights.codes, k, n, [128, choice.tileN], .bytes128),
                c: try map(c, c.shape[1], m, [variant.shape.chunkColumns, 64], variant.shape.chunkSwizzle)
            )
            guard variant.isFused, let heads else {
                try loaded.kernel.launch(
                    configuration, on: context.stream, maps.a, maps.b, maps.c, TensorMap.unused, c.address, scales.address,
                    weights.scales.address, none, outputScales?.address ?? none, Int32(m), Int32(n), Int32(k), Int64(c.shape[1]))
                return
            }
            try loaded.kernel.launch(
                configuration, on: context.stream, maps.a, maps.b, maps.c, TensorMap.unused, c.address, scales.address, weights.scales.address,
                none, none, Int32(m), Int32(n), Int32(k), Int64(c.shape[1]), heads.weights.address, heads.frequencies.address,
                heads.positions.address, none, none, heads.epsilon)
        }
    }
}
