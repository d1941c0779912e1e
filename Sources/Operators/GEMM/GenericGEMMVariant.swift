import CUDA
import Tensors

/// What a scale of fp8 operands belongs to.
enum Float8Scale: Int {
    case none = 0
    case tensor = 1
    case rows = 2

    init(_ scales: DeviceTensor?) { self = scales.map { $0.shape == [1] ? .tensor : .rows } ?? .none }
}

/// The forms of Kernels/Operators/GemmGeneric.cu.
struct GenericGEMMVariant: KernelVariant {
    static let path = "Operators/GemmGeneric.cu"
    let entry = "apus_gemm_generic"

    var input: DType
    var output: DType
    var activation: Activation?
    var isGated: Bool
    var hasBias: Bool
    var hasResidual: Bool
    var rowScale: Float8Scale
    var columnScale: Float8Scale
    /// Rows of both operands are aligned to 16 bytes and hold whole vectors.
    var isAligned: Bool
    let stages = 3

    init(_ problem: GEMMProblem, _ arguments: GEMMArguments, weights: DeviceTensor) {
        input = problem.inputType
        output = problem.outputType
        activation = problem.activation
        isGated = problem.isGated
        hasBias = problem.hasBias
        hasResidual = problem.hasResidual
        rowScale = Float8Scale(arguments.rowScales)
        columnScale = Float8Scale(arguments.columnScales)
        let size = problem.inputType.byteCount
        isAligned =
            problem.k * size % 16 == 0 && problem.stride * size % 16 == 0 && arguments.a.address.bits % 16 == 0
            && weights.address.bits % 16 == 0
    }

    var threadCount: Int { 256 }
    var sharedByteCount: Int { stages * 32768 }

    var constants: KernelConstants {
        KernelConstants([
            "GEMM_STAGES": stages, "GEMM_GROUP": 8, "GEMM_INPUT": input.kernelNumber, "GEMM_OUTPUT": output.kernelNumber,
            "GEMM_ACTIVATION": activation?.kernelNumber ?? 0, "GEMM_GATED": isGated ? 1 : 0, "GEMM_RESIDUAL": hasResidual ? 1 : 0,
            "GEMM_ROW_SCALE": rowScale.rawValue, "GEMM_COLUMN_SCALE": columnScale.rawValue, "GEMM_BIAS": hasBias ? 1 : 0,
            "GEMM_ALIGNED": isAligned ? 1 : 0, "GEMM_K": 0,
        ])
    }
}

/// The forms of Kernels/Operators/GemmFloat.cu: fp32 throughout.
struct FloatGEMMVariant: KernelVariant {
    static let path = "Operators/GemmFloat.cu"
    let entry = "apus_gemm_float"

    var activation: Activation?
    var isGated: Bool
    var hasBias: Bool
    var hasResidual: Bool

    init(_ problem: GEMMProblem) {
        activation = problem.activation
        isGated = problem.isGated
        hasBias = problem.hasBias
        hasResidual = problem.hasResidual
    }

    var threadCount: Int { 256 }
    var sharedByteCount: Int { 0 }

    var constants: KernelConstants {
        KernelConstants([
            "GEMM_ACTIVATION": activation?.kernelNumber ?? 0, "GEMM_GATED": isGated ? 1 : 0, "GEMM_RESIDUAL": hasResidual ? 1 : 0,
            "GEMM_BIAS": hasBias ? 1 : 0,
        ])
    }
}
