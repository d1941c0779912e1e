import CUDA
import Tensors

/// The forms of Kernels/Operators/SoftmaxTopK.cu.
struct RowVariant: KernelVariant {
    static let path = "Operators/SoftmaxTopK.cu"

    enum Entry: String, CaseIterable {
        case softmax = "apus_softmax_rows"
        case softmaxPieces = "apus_softmax_pieces"
        case softmaxFinish = "apus_softmax_finish"
        case argmax = "apus_argmax_rows"
        case argmaxPieces = "apus_argmax_pieces"
        case argmaxFinish = "apus_argmax_finish"
        case topK = "apus_top_k_rows"
        case topKPieces = "apus_top_k_pieces"
        case topKFinish = "apus_top_k_finish"
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
    var threadCount: Int { kind == .argmaxFinish ? 32 : 1024 }
    var sharedByteCount: Int { 0 }

    var constants: KernelConstants {
        KernelConstants([
            "ROWS_TYPE": dtype.kernelNumber, "ROWS_OUTPUT": output.kernelNumber, "ROWS_VECTOR": isScalar ? 1 : 0, "ROWS_TOP": top,
        ])
    }
}

/// How rows are cut so that their pieces fill the GPU: rows that fill it by themselves are not.
package struct RowCut {
    /// Pieces of a row.
    package let pieces: Int
    /// Columns of a piece, whole vectors; the last piece may have fewer.
    package let columns: Int

    /// A block has a vector for each of its threads to read.
    private static let fewest = 4096

    package init(_ problem: RowProblem, count: Int = 1, multiprocessors: Int) {
        let most = max(1, 2 * multiprocessors / max(1, problem.rows))
        // Pieces of top k hand on all of their k, which shall be few of theirs.
        let wanted = max(1, min(most, problem.columns / max(Self.fewest, 4 * count)))
        let size = (problem.columns + wanted - 1) / wanted
        columns = max(16, (size + 15) / 16 * 16)
        pieces = max(1, (problem.columns + columns - 1) / columns)
    }
}
