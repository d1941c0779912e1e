import CUDA
import Tensors

/// The forms of Kernels/Operators/SoftmaxTopK.cu.
struct RowVariant: KernelVariant {
    static let path = "Operators/SoftmaxTopK.cu"

    enum Entry: String {
        case softmax = "apus_softmax_rows"
        case argmax = "apus_argmax_rows"
        case topK = "apus_top_k_rows"
    }

    var kind: Entry
    var dtype: DType
    var output: DType
    /// Single elements, where 16-byte vectors do not fit the sizes or the addresses.
    var isScalar: Bool
    /// Room for the chosen entries, a power of two.
    var top = 64

    init(_ kind: Entry, _ problem: RowProblem, _ tensors: [DeviceTensor], output: DType, count: Int = 1) {
        self.kind = kind
        dtype = problem.dtype
        self.output = output
        isScalar =
            problem.columns % (16 / problem.dtype.byteCount) != 0 || problem.stride * problem.dtype.byteCount % 16 != 0
            || tensors.contains { $0.address.bits % 16 != 0 }
        while top < count { top *= 2 }
    }

    var entry: String { kind.rawValue }
    var threadCount: Int { 1024 }
    var sharedByteCount: Int { 0 }

    var constants: KernelConstants {
        KernelConstants([
            "ROWS_TYPE": dtype.kernelNumber, "ROWS_OUTPUT": output.kernelNumber, "ROWS_VECTOR": isScalar ? 1 : 0, "ROWS_TOP": top,
        ])
    }
}
