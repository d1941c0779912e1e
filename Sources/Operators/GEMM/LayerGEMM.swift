package import CUDA
import Tensors

/// What a product of a transformer layer leaves: forms of Kernels/Operators/GemmHopper.cu, whose file holds the formulas.
package enum LayerEpilogue: Hashable, Sendable {
    /// The product in bf16.
    case plain
    /// The product's columns are heads, in bf16: queries and keys normed each and rotated, what is left is stored as it is.
    case heads(size: Int, query: Int, key: Int)
    /// act(gate) * up of packed weights, of codes in codes again. silu and tanh-gelu.
    case gated(Activation)
}

/// What a product of a transformer layer multiplies.
package enum LayerOperands: Hashable, Sendable {
    /// bf16, for heads. `sumParts`: parts of each row's sum of squares of A, for the norm ahead of the product, whose weight is in B; 0 where A is normed
    /// already.
    case bfloat16(sumParts: Int)
    /// E4M3, each row of A with a scale of its own. `hasColumnScales`: B has one for each of its rows, and one in all otherwise.
    case codes(hasColumnScales: Bool)
}

/// One form for Hopper.
package struct LayerGEMMVariant: KernelVariant {
    package static let path = "Operators/GemmHopper.cu"
    package let entry = "apus_gemm_hopper"

    let epilogue: LayerEpilogue
    let operands: LayerOperands
    let configuration: GEMMConfiguration

    package init(_ epilogue: LayerEpilogue, _ operands: LayerOperands, columns: Int) {
        self.epilogue = epilogue
        self.operands = operands
        configuration = Self.configuration(epilogue, operands, columns: columns)
    }

    /// By measurements on an H200. Tiles divide the columns: 640 are four of 160.
    private static func configuration(_ epilogue: LayerEpilogue, _ operands: LayerOperands, columns: Int) -> GEMMConfiguration {
        switch epilogue {
        case .gated:
            return GEMMConfiguration(tileM: 128, tileN: 192, stages: 4, isPingPong: true, group: 4, staging: 6)
        // Whole heads in a tile.
        case .heads(256, _, _):
            return GEMMConfiguration(tileM: 64, tileN: 256, stages: 4, isPingPong: true)
        case .heads:
            return GEMMConfiguration(tileM: 128, tileN: 128, stages: 5, isPingPong: true)
        case .plain where columns <= 1280 && columns % 160 == 0:
            return GEMMConfiguration(tileM: 128, tileN: 160, stages: 5, isPingPong: true)
        // With scales of columns 192 spill.
        case .plain where columns % 192 == 0 && operands != .codes(hasColumnScales: true):
            return GEMMConfiguration(tileM: 128, tileN: 192, stages: 4, isPingPong: true, staging: 3)
        case .plain:
            return GEMMConfiguration(tileM: 128, tileN: 128, stages: 6, isPingPong: true)
        }
    }

    private var isGated: Bool { if case .gated = epilogue { true } else { false } }
    private var headSize: Int { if case .heads(let size, _, _) = epilogue { size } else { 0 } }
    private var sumParts: Int { if case .bfloat16(let parts) = operands { parts } else { 0 } }
    private var isOfCodes: Bool { if case .codes = operands { true } else { false } }
    private var input: DType { isOfCodes ? .float8E4M3 : .bfloat16 }
    private var output: DType { isOfCodes && isGated ? .float8E4M3 : .bfloat16 }
    /// Whether the kernel has the parameters of norms.
    var isFused: Bool { sumParts > 0 || headSize > 0 }
    /// Columns of A and B that a slot of the ring holds.
    var depth: Int { 128 / input.byteCount }

    var shape: HopperGEMMShape { HopperGEMMShape(configuration, output: output, isGated: isGated, storesDirectly: false) }
    package var threadCount: Int { 128 * (1 + configuration.consumers) }
    package var sharedByteCount: Int { shape.sharedByteCount + 10 * headSize }

    package var constants: KernelConstants {
        var constants = KernelConstants([
            "GEMM_TILE_M": configuration.tileM, "GEMM_TILE_N": configuration.tileN, "GEMM_STAGES": configuration.stages,
            "GEMM_CONSUMERS": configuration.consumers, "GEMM_PINGPONG": configuration.isPingPong ? 1 : 0, "GEMM_GROUP": configuration.group,
            "GEMM_STAGING": configuration.staging, "GEMM_INPUT": input.kernelNumber, "GEMM_OUTPUT": output.kernelNumber,
            "GEMM_GATED": isGated ? 1 : 0,
        ])
        switch operands {
        case .bfloat16(let parts):
            constants.define("GEMM_ROW_SCALE", parts > 0 ? 3 : 0)
            if parts > 0 { constants.define("GEMM_SCALE_PARTS", parts) }
        case .codes(let hasColumnScales):
            constants.define("GEMM_ROW_SCALE", 2)
            constants.define("GEMM_COLUMN_SCALE", hasColumnScales ? 2 : 1)
        }
        if case .gated(let activation) = epilogue { constants.define("GEMM_ACTIVATION", activation.kernelNumber) }
        if case .heads(let size, let query, let key) = epilogue {
            constants.define("GEMM_HEAD", size)
            constants.define("GEMM_QUERY_HEADS", query)
            constants.define("GEMM_KEY_HEADS", key)
        }
        if isFused { constants.define("GEMM_EARLY", 1) }
        return constants
    }
}
