import CUDA
package import Tensors

extension DType {
    /// As the kernels count element types.
    package var kernelNumber: Int {
        switch self {
        case .float16: 1
        case .float32: 2
        case .float8E4M3: 3
        case .float8E5M2: 4
        default: 0
        }
    }
}

/// The forms of Kernels/Operators/RMSNormRoPE.cu.
struct NormVariant: KernelVariant {
    static let path = "Operators/RMSNormRoPE.cu"
    let entry = "apus_rms_norm"

    /// What the norm does with a second tensor.
    enum Addition: Int {
        case none = 0
        /// The sum is normalised, and written too.
        case before = 1
        /// The norm's result is added.
        case after = 2
    }

    var dtype: DType
    var weightType: DType
    var tableType: DType
    var row: Int
    var head: Int
    var heads: Int
    var isRotating: Bool
    var unitOffset: Bool
    var addition = Addition.none
    /// Heads that take the first weight; the others take the second.
    var split: Int
    /// Single elements, where 16-byte vectors do not fit the sizes or the addresses.
    var isScalar: Bool
    var configuration: NormConfiguration
    var rows: Int { configuration.rows }

    init(_ problem: NormProblem, addition: Addition = .none, alignments: [Int]) {
        dtype = problem.dtype
        weightType = problem.weightType
        tableType = problem.rotation?.tableType ?? problem.dtype
        row = problem.row
        head = problem.rotation?.head ?? problem.row
        heads = problem.heads
        split = problem.heads
        isRotating = problem.rotation != nil
        unitOffset = problem.unitOffset
        self.addition = addition
        let vector = 16 / problem.dtype.byteCount
        let fits = problem.rotation.map { $0.head % (2 * vector) == 0 } ?? (problem.row % vector == 0)
        isScalar = !fits || problem.row % vector != 0 || alignments.contains { $0 % 16 != 0 }
        let width = isScalar ? 1 : vector
        configuration = .best(pairs: max(1, (problem.row + 2 * width - 1) / (2 * width)))
    }

    var threadCount: Int { configuration.lanes * configuration.rows }
    var sharedByteCount: Int { 0 }

    var constants: KernelConstants {
        KernelConstants([
            "NORM_TYPE": dtype.kernelNumber, "NORM_WEIGHT": weightType.kernelNumber, "NORM_TABLE": tableType.kernelNumber, "NORM_ROW": row,
            "NORM_HEAD": head, "NORM_HEADS": heads, "NORM_SPLIT": split, "NORM_LANES": configuration.lanes, "NORM_ROWS": rows,
            "NORM_VECTOR": isScalar ? 1 : 0, "NORM_ROPE": isRotating ? 1 : 0, "NORM_UNIT_OFFSET": unitOffset ? 1 : 0,
            "NORM_ADD": addition.rawValue, "NORM_STREAM": 0, "NORM_BLOCKS": configuration.blocks,
        ])
    }
}
