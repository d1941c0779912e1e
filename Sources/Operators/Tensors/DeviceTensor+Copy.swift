public import CUDA
import Foundation
public import Tensors

extension DeviceTensor {
    /// Copies a tensor of the host into new memory of the GPU, in stream order.
    public init(_ tensor: HostTensor, on stream: CUDA.Stream) throws(OperatorError) {
        try self.init(uninitialized: tensor.dtype, shape: tensor.shape, on: stream)
        try upload(tensor, on: stream)
    }

    /// Copies a tensor of the host over this one, in stream order. Type and shape must agree, and this tensor must be contiguous.
    public func upload(_ tensor: HostTensor, on stream: CUDA.Stream) throws(OperatorError) {
        let check = ArgumentCheck("upload", on: place)
        let target = Operand("the tensor on the GPU", self)
        try check.sameType(Operand("the tensor of the host", tensor), as: target)
        try check.contiguous(target)
        try check.shape(Operand("the tensor of the host", tensor), shape, "as the tensor on the GPU")
        let region = region
        // The error leaves the closure as a value: Data's own closure knows no typed errors.
        let failure = tensor.data.withUnsafeBytes { bytes -> CUDAError? in
            do throws(CUDAError) {
                try stream.upload(bytes, to: region)
                return nil
            } catch {
                return error
            }
        }
        if let failure { throw .cuda("upload", failure) }
        storage.markWritten()
    }

    /// Copies the elements to the host, row-major, and waits for them.
    public func download(on stream: CUDA.Stream) throws(OperatorError) -> HostTensor {
        let region = region
        let bytes = try OperatorError.wrap("download") { () throws(CUDAError) in try stream.download(UInt8.self, from: region) }
        let data = isContiguous ? Data(bytes) : gather(bytes)
        return try OperatorError.wrapFile("download") { () throws(TensorError) in
            try HostTensor(dtype: dtype, shape: shape, data: data)
        }
    }

    /// Takes the elements of a slice out of the bytes that it spans.
    private func gather(_ bytes: [UInt8]) -> Data {
        let size = dtype.byteCount
        var data = Data(capacity: elementCount * size)
        func walk(_ dimension: Int, _ offset: Int) {
            guard dimension < shape.count else {
                data.append(contentsOf: bytes[offset..<offset + size])
                return
            }
            for index in 0..<shape[dimension] { walk(dimension + 1, offset + index * strides[dimension] * size) }
        }
        walk(0, 0)
        return data
    }
}
