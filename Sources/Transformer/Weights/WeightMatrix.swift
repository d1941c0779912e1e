package import CCPUKernels
import Foundation
package import Tensors

/// A weight tensor as it lies in a mapped file: `[rows, columns]`, row-major; vectors have one row.
///
/// The pointer is safe because `owner` keeps the mapping alive, the checkpoint reader has checked that all bytes lie inside the file, and nobody
/// writes through it.
package struct WeightMatrix: @unchecked Sendable {
    package let name: String
    package let rows: Int
    package let columns: Int
    package let type: apus_dtype
    package let base: UnsafeRawPointer
    private let owner: Data

    /// - Throws: ``TransformerError`` when the shape is not the expected one or the type is none that executors multiply with.
    package init(_ tensor: HostTensor, name: String, rows: Int, columns: Int) throws {
        let expected = rows == 1 && tensor.shape.count == 1 ? [columns] : [rows, columns]
        guard tensor.shape == expected else {
            throw TransformerError(.wrongShape, "tensor '\(name)' has shape \(tensor.shape), the configuration calls for \(expected)")
        }
        switch tensor.dtype {
        case .float32: type = APUS_F32
        case .float16: type = APUS_F16
        case .bfloat16: type = APUS_BF16
        default:
            throw TransformerError(.unsupportedType, "tensor '\(name)' is of type \(tensor.dtype.safetensorsName), supported are F32, F16 and BF16")
        }
        self.name = name
        self.rows = rows
        self.columns = columns
        // A few bytes lie inside the Data value itself, where no address outlives the call below; behind a tail they lie on the heap.
        owner = tensor.data.count < 32 ? tensor.data + Data(count: 32) : tensor.data
        guard !tensor.data.isEmpty, let base = owner.withUnsafeBytes({ $0.baseAddress }) else {
            throw TransformerError(.wrongShape, "tensor '\(name)' is empty")
        }
        self.base = base
    }

    /// The elements as they lie in the file, row-major.
    package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: byteCount) }

    package var elementByteCount: Int { type == APUS_F32 ? 4 : 2 }
    package var byteCount: Int { rows * columns * elementByteCount }

    /// "F32", "F16" or "BF16".
    package var typeName: String {
        switch type {
        case APUS_F32: "F32"
        case APUS_F16: "F16"
        default: "BF16"
        }
    }

    /// `value` rounded to this tensor's type, as a product in that type would see it.
    package func rounded(_ value: Float) -> Float {
        switch type {
        case APUS_F16: Float(Float16(value))
        case APUS_BF16: Float(BFloat16(value))
        default: value
        }
    }
}
