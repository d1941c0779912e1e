package import CUDA
import Tensors

/// What a product of a transformer layer does beside multiplying: forms of Kernels/Operators/GemmHopper.cu, whose file holds the formulas.
package enum LayerEpilogue: Hashable, Sendable {
    /// The columns are heads: queries and keys are normed each and rotated, what is left is stored as it is.
    case heads(size: Int, query: Int, key: Int)
    /// act(gate) * up of packed weights.
    case gated(Activation)
    /// residual + product; sums of squares of the result.
    case residual
    /// residual + norm(product) * w; sums of squares of the result.
    case postNorm
}

/// One form for Hopper.
package struct LayerGEMMVariant: KernelVariant {
    package static let path = "Operators/GemmHopper.cu"
    package let entry = "apus_gemm_hopper"

    let epilogue: LayerEpilogue
    /// Parts of each row's sum of squares of A, for the norm ahead of the product, whose weight is in B; 0 where A is normed already.
    let scaleParts: Int
    let configuration: GEMMConfiguration

    package init(_ epilogue: LayerEpilogue, scaleParts: Int, columns: Int) {
        self.epilogue = epilogue
        self.scaleParts = scaleParts
        configuration = Self.configuration(epilogue, columns: columns)
    }

    /// By measurements on an H200. All norms want groups of one tile row, which keep the tiles of a row together.
    private static func configuration(_ epilogue: LayerEpilogue, columns: Int) -> GEMMConfiguration {
        switch epilogue {
        case .heads(256, _, _): GEMMConfiguration(tileM: 64, tileN: 256, stages: 4, isPingPong: true)
        case .heads: GEMMConfiguration(tileM: 128, tileN: 128, stages: 5, isPingPong: true)
        case .gated(let activation):
            // silu spills with the whole result staged.
            GEMMConfiguration(tileM: 128, tileN: 192, stages: 4, isPingPong: true, group: 4, staging: activation == .silu ? 3 : 6)
        case .residual where columns % 256 == 0 && columns % 192 != 0:
            GEMMConfiguration(tileM: 128, tileN: 256, stages: 4, group: 1)
        case .residual where columns % 160 != 0:
            GEMMConfiguration(tileM: 128, tileN: 192, stages: 4, isPingPong: true, group: 1, staging: 3)
        // With a norm 192 columns spill.
        case .postNorm where columns % 160 != 0:
            GEMMConfiguration(tileM: 128, tileN: 128, stages: 5, isPingPong: true, group: 1, staging: 4)
        case .residual, .postNorm:
            GEMMConfiguration(tileM: 128, tileN: 160, stages: 5, isPingPong: true, group: 1, staging: 5)
        }
    }

    /// Tiles of a row: parts of the sums of squares that ``LayerEpilogue/residual`` and ``LayerEpilogue/postNorm`` write.
    package static func parts(_ epilogue: LayerEpilogue, columns: Int) -> Int {
        let width = configuration(epilogue, columns: columns).tileN
        return (columns + width - 1) / width
    }

    private var isGated: Bool { if case .gated = epilogue { true } else { false } }
    private var hasResidual: Bool { epilogue == .residual || epilogue == .postNorm }
    private var headSize: Int { if case .heads(let size, _, _) = epilogue { size } else { 0 } }
    /// Whether the kernel has the parameters of norms.
    var isFused: Bool { scaleParts > 0 || headSize > 0 || epilogue == .postNorm }

    var shape: HopperGEMMShape { HopperGEMMShape(configuration, output: .bfloat16, isGated: isGated, storesDirectly: false) }
    package var threadCount: Int { 128 * (1 + configuration.consumers) }
    package var sharedByteCount: Int {
        shape.sharedByteCount + 10 * headSize + (epilogue == .postNorm ? configuration.consumers * configuration.tileN * 4 : 0)
    }

    package var constants: KernelConstants {
        var constants = KernelConstants([
            "GEMM_TILE_M": configuration.tileM, "GEMM_TILE_N": configuration.tileN, "GEMM_STAGES": configuration.stages,
            "GEMM_CONSUMERS": configuration.consumers, "GEMM_PINGPONG": configuration.isPingPong ? 1 : 0, "GEMM_GROUP": configuration.group,
            "GEMM_STAGING": configuration.staging, "GEMM_GATED": isGated ? 1 : 0, "GEMM_RESIDUAL": hasResidual ? 1 : 0,
            "GEMM_STATISTICS": hasResidual ? 1 : 0, "GEMM_POST_NORM": epilogue == .postNorm ? 1 : 0,
            "GEMM_COLUMN_SCALE": epilogue == .postNorm ? 2 : 0, "GEMM_ROW_SCALE": scaleParts > 0 ? 3 : 0,
        ])
        if isFused { constants.define("GEMM_EARLY", 1) }
        if scaleParts > 0 { constants.define("GEMM_SCALE_PARTS", scaleParts) }
        if case .gated(let activation) = epilogue { constants.define("GEMM_ACTIVATION", activation.kernelNumber) }
        if case .heads(let size, let query, let key) = epilogue {
            constants.define("GEMM_HEAD", size)
            constants.define("GEMM_QUERY_HEADS", query)
            constants.define("GEMM_KEY_HEADS", key)
        }
        return constants
    }
}

/// The tensors of one such product beside A, B and C. What a form does not use stays nil.
package struct LayerGEMMArguments {
    /// Sums of squares of A's rows. [M, parts] fp32
    package var rowSums: DeviceTensor?
    /// As C, which it may be.
    package var residual: DeviceTensor?
    /// The factors of the post-norm, 1 + w where the model has that. [N] fp32
    package var postNorm: DeviceTensor?
    /// Where the sums of squares of C's rows go. [M, parts] fp32
    package var statistics: DeviceTensor?
    /// Factors of the norms of queries and keys, which must not be written by work in the stream. [2, D] fp32
    package var headWeights: DeviceTensor?
    /// Radians a position, likewise. [D / 2] fp32
    package var frequencies: DeviceTensor?
    /// [M] int32
    package var positions: DeviceTensor?
    /// Words of ones that the tiles of a row exchange their sums through, and those of the product before, which become ones again. [M, parts] uint32
    package var packets: (own: DeviceTensor, former: DeviceTensor)?

    package init() {}
}

/// The products of layers that a context has compiled.
package final class LayerGEMMKernels: Sendable {
    private let context: OperatorContext
    private let kernels = LoadedKernels<LayerGEMMVariant>()

    /// - Throws: ``OperatorError`` with code `unavailable` on another GPU than Hopper.
    package init(_ context: OperatorContext) throws(OperatorError) {
        try context.check(.hopper, "layerGEMM")
        self.context = context
    }

    /// C = epilogue(A B^T), all bf16: a [M, K], b [N, K], c [M, N] or, gated, [M, N / 2], each without gaps but for the rows of a. Shapes are the caller's
    /// own and not checked but by the maps.
    package func multiply(
        _ a: DeviceTensor, _ b: DeviceTensor, into c: DeviceTensor, epilogue: LayerEpilogue, epsilon: Float, _ arguments: LayerGEMMArguments
    ) throws(OperatorError) {
        let (m, k) = (a.shape[0], a.shape[1])
        let n = b.elementCount / max(1, k)
        guard m > 0, n > 0 else { return }
        let variant = LayerGEMMVariant(epilogue, scaleParts: arguments.rowSums?.shape[1] ?? 0, columns: n)
        let loaded = try kernels.kernel(variant, in: context)
        let choice = variant.configuration
        func tiles(_ count: Int, _ size: Int) -> Int { (count + size - 1) / size }
        let grid = min(context.device.multiprocessorCount, tiles(m, choice.tileM) * tiles(n, choice.tileN))
        let configuration = LaunchConfiguration(
            grid: Extent(grid), block: Extent(variant.threadCount), sharedByteCount: variant.sharedByteCount,
            isProgrammatic: context.overlapsLaunches)
        try OperatorError.wrap("layerGEMM") { () throws(CUDAError) in
            func map(
                _ tensor: DeviceTensor, _ columns: Int, _ rows: Int, _ stride: Int, _ box: [Int], _ swizzle: TensorMap.Swizzle
            ) throws(CUDAError)
                -> TensorMap
            {
                try TensorMap(
                    tensor.address, element: .bfloat16, sizes: [columns, rows], strides: [2 * stride], box: box, swizzle: swizzle,
                    promotion: .bytes256, context: context.context)
            }
            let columns = c.shape[1]
            let chunk = [variant.shape.chunkColumns, 64]
            let mapA = try map(a, k, m, a.strides[0], [64, choice.tileM], .bytes128)
            let mapB = try map(b, k, n, k, [64, choice.tileN], .bytes128)
            let mapC = try map(c, columns, m, columns, chunk, variant.shape.chunkSwizzle)
            let mapR =
                if let residual = arguments.residual {
                    try map(residual, columns, m, columns, chunk, variant.shape.chunkSwizzle)
                } else { TensorMap.unused }
            func address(_ tensor: DeviceTensor?) -> DeviceAddress { tensor?.address ?? DeviceAddress(bits: 0) }
            guard variant.isFused else {
                try loaded.kernel.launch(
                    configuration, on: context.stream, mapA, mapB, mapC, mapR, c.address, address(nil), address(nil), address(nil),
                    address(arguments.statistics), Int32(m), Int32(n), Int32(k), Int64(columns))
                return
            }
            try loaded.kernel.launch(
                configuration, on: context.stream, mapA, mapB, mapC, mapR, c.address, address(arguments.rowSums), address(arguments.postNorm),
                address(nil), address(arguments.statistics), Int32(m), Int32(n), Int32(k), Int64(columns), address(arguments.headWeights),
                address(arguments.frequencies), address(arguments.positions), address(arguments.packets?.own),
                address(arguments.packets?.former), epsilon)
        }
    }
}
