import CUDA
import Tensors

/// The forms of Kernels/Operators/Quantize.cu.
struct QuantizeVariant: KernelVariant {
    static let path = "Operators/Quantize.cu"

    enum Entry: String {
        case rows = "apus_quantize_rows"
        case maximum = "apus_absolute_maximum"
        case quantize = "apus_quantize"
        case dequantize = "apus_dequantize"
    }

    var kind: Entry
    var dtype: DType
    var format: Float8Format
    var granularity: QuantizationGranularity
    var isGiven = false
    var overflow = Float8Overflow.saturate
    /// Single elements, where 16-byte vectors do not fit the sizes or the addresses.
    var isScalar: Bool
    /// Columns of a row that stay in registers between maximum and codes.
    var heldColumns = 4096

    init(
        _ kind: Entry, _ problem: QuantizationProblem, values: DeviceTensor, codes: DeviceTensor?, codeStride: Int,
        overflow: Float8Overflow = .saturate, isGiven: Bool = false
    ) {
        self.kind = kind
        dtype = problem.dtype
        format = problem.format
        granularity = problem.granularity
        self.overflow = overflow
        self.isGiven = isGiven
        let addresses = [values.address.bits, codes?.address.bits ?? 0]
        let valueStride = kind == .dequantize ? problem.columns : problem.stride
        isScalar =
            problem.columns % 16 != 0 || addresses.contains { $0 % 16 != 0 } || valueStride * problem.dtype.byteCount % 16 != 0
            || codeStride % 16 != 0
        if kind == .rows {
            let limit = isScalar ? 2048 : 32768 / problem.dtype.byteCount
            while heldColumns < problem.columns, heldColumns < limit { heldColumns *= 2 }
            heldColumns = min(heldColumns, limit)
        }
    }

    var entry: String { kind.rawValue }
    var threadCount: Int { 256 }
    var sharedByteCount: Int { 0 }

    var constants: KernelConstants {
        KernelConstants([
            "QUANTIZE_TYPE": dtype.kernelNumber, "QUANTIZE_FORMAT": format.dtype.kernelNumber,
            "QUANTIZE_AXIS": granularity.kernelNumber, "QUANTIZE_GIVEN": isGiven ? 1 : 0,
            "QUANTIZE_SATURATE": overflow == .saturate ? 1 : 0, "QUANTIZE_VECTOR": isScalar ? 1 : 0, "QUANTIZE_ROW": heldColumns,
        ])
    }
}
