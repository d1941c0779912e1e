import Foundation
import Tensors

extension HostTensor {
    /// A tensor over bytes, in the words that files without Foundation can use.
    init(bytes: [UInt8], dtype: DType, shape: [Int]) throws(TensorError) {
        try self.init(dtype: dtype, shape: shape, data: Data(bytes))
    }

    /// The bytes, row-major.
    var byteArray: [UInt8] { Array(data) }
}
