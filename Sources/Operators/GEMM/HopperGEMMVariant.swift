import CUDA
import Tensors

/// The forms of Kernels/Operators/GemmHopper.cu.
struct HopperGEMMVariant: KernelVariant {
    static let path = "Operators/GemmHopper.cu"
    let entry = "apus_gemm_hopper"

    var configuration: GEMMConfiguration
    var input: DType
    var output: DType
    var activation: Activation?
    var isGated: Bool
    /// Gate and up lie apart, and the copy engine interleaves them on the way.
    var interleaves: Bool
    var hasBias: Bool
    var hasResidual: Bool
    var rowScale: Float8Scale
    var columnScale: Float8Scale
    /// The result leaves from registers: its rows are not aligned to 16 bytes.
    var storesDirectly: Bool
    /// The step of K at which the residual's tile is asked for.
    var residualStep = 0

    /// Lessens the stages until the block's shared memory fits; nil where two do not.
    init?(
        _ problem: GEMMProblem, _ configuration: GEMMConfiguration, _ arguments: GEMMArguments, storesDirectly: Bool, sharedByteLimit: Int
    ) {
        self.configuration = configuration
        input = problem.inputType
        output = problem.outputType
        activation = problem.activation
        isGated = problem.isGated
        interleaves = problem.isGated && !arguments.isPacked
        hasBias = problem.hasBias
        hasResidual = problem.hasResidual
        rowScale = Float8Scale(arguments.rowScales)
        columnScale = Float8Scale(arguments.columnScales)
        self.storesDirectly = storesDirectly
        // With a tile or two for each multiprocessor the first ones begin together, and operands come before residuals.
        let tiles = (problem.m + configuration.tileM - 1) / configuration.tileM * ((problem.n + configuration.tileN - 1) / configuration.tileN)
        if hasResidual, configuration.promotion == 0, problem.k >= 1024, tiles <= 264 { residualStep = 12 }
        while sharedByteCount > sharedByteLimit {
            guard self.configuration.stages > 2 else { return nil }
            self.configuration.stages -= 1
        }
    }

    var clusterCount: Int { configuration.clusterM * configuration.clusterN }
    var threadCount: Int { 128 * (1 + configuration.consumers) }

    var shape: HopperGEMMShape { HopperGEMMShape(configuration, output: output, isGated: isGated, storesDirectly: storesDirectly) }
    var sharedByteCount: Int { shape.sharedByteCount + (stagesScales ? scaleByteCount : 0) }

    /// Factors of rows and columns are read before the products and wait in shared memory, where that has room: the registers are full of sums.
    var stagesScales: Bool {
        rowScale == .rows && columnScale == .rows && !hasResidual && !storesDirectly && configuration.rowBlocks <= 2 && configuration.tileN <= 256
            && shape.sharedByteCount + scaleByteCount <= HopperGEMMShape.sharedByteLimit
    }

    private var scaleByteCount: Int { configuration.consumers * (configuration.tileN + 64 * configuration.rowBlocks) * 4 }

    var constants: KernelConstants {
        KernelConstants([
            "GEMM_TILE_M": configuration.tileM, "GEMM_TILE_N": configuration.tileN, "GEMM_STAGES": configuration.stages,
            "GEMM_CONSUMERS": configuration.consumers, "GEMM_PINGPONG": configuration.isPingPong ? 1 : 0,
            "GEMM_CLUSTER_M": configuration.clusterM, "GEMM_CLUSTER_N": configuration.clusterN, "GEMM_GROUP": configuration.group,
            "GEMM_STAGING": configuration.staging, "GEMM_INPUT": input.kernelNumber, "GEMM_OUTPUT": output.kernelNumber,
            "GEMM_ACTIVATION": activation?.kernelNumber ?? 0, "GEMM_GATED": isGated ? 1 : 0, "GEMM_B_RANK": interleaves ? 4 : 2,
            "GEMM_RESIDUAL": hasResidual ? 1 : 0, "GEMM_RESIDUAL_STEP": residualStep, "GEMM_STATISTICS": 0, "GEMM_ROW_SCALE": rowScale.rawValue,
            "GEMM_COLUMN_SCALE": columnScale.rawValue, "GEMM_BIAS": hasBias ? 1 : 0, "GEMM_PROMOTE": configuration.promotion,
            "GEMM_PARTS": configuration.parts, "GEMM_HALVES": configuration.halves, "GEMM_SCALE_STAGED": stagesScales ? 1 : 0,
            "GEMM_DIRECT_STORE": storesDirectly ? 1 : 0, "GEMM_K": 0,
        ])
    }
}

/// What follows from the choices for a block's memory.
struct HopperGEMMShape {
    let configuration: GEMMConfiguration
    let output: DType
    let isGated: Bool
    let storesDirectly: Bool

    init(_ configuration: GEMMConfiguration, output: DType, isGated: Bool, storesDirectly: Bool) {
        self.configuration = configuration
        self.output = output
        self.isGated = isGated
        self.storesDirectly = storesDirectly
    }

    /// Columns of the result that one product of a warpgroup gives.
    private var blockColumns: Int {
        let blocks = configuration.tileN > 256 ? 2 : 1
        return configuration.tileN / blocks / (isGated ? 2 : 1)
    }

    /// Columns of a piece of the result that is staged and leaves at once: 128 bytes, or 64 or 32 where those divide the block.
    var chunkColumns: Int {
        let widest = 128 / output.byteCount
        return blockColumns % widest == 0 ? widest : blockColumns % (widest / 2) == 0 ? widest / 2 : widest / 4
    }

    var chunkSwizzle: TensorMap.Swizzle {
        switch chunkColumns * output.byteCount {
        case 128: .bytes128
        case 64: .bytes64
        default: .bytes32
        }
    }

    /// What a block may have on Hopper.
    static let sharedByteLimit = 232_448

    var sharedByteCount: Int {
        let ring = configuration.stages * (configuration.tileM + configuration.tileN) * 128
        let chunks = blockColumns * (configuration.tileN > 256 ? 2 : 1) / chunkColumns * configuration.rowBlocks
        let staged = min(configuration.staging, chunks) * configuration.consumers * 64 * chunkColumns * output.byteCount
        return 1024 + ring + (storesDirectly ? 0 : staged) + 256
    }
}

extension TensorMap.Element {
    /// The element that the copy engine takes for a type.
    init(_ dtype: DType) {
        switch dtype {
        case .bfloat16: self = .bfloat16
        case .float16: self = .float16
        case .float32: self = .float32
        default: self = .uint8
        }
    }
}
