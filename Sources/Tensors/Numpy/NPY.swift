package import Foundation

/// Files of one float32 array in NumPy's own format (`.npy`).
public enum NPY {
    /// The longest header that is read.
    package static let maximumHeaderByteCount = 65_535

    /// Maps an array of little-endian float32 in row-major order; the format's versions 1, 2 and 3 are read.
    ///
    /// Throws ``TensorError/Code/unsupported`` for another element type or column-major order, and other codes, with the offset, for what is no
    /// such file or has more or fewer bytes than its shape needs.
    public static func read(contentsOf path: String) throws(TensorError) -> HostTensor {
        try read(Data(mappingFileAt: path), name: path)
    }

    /// The same for bytes in memory; `name` stands for the path in messages. Memory: at most 16 times the header's size.
    package static func read(_ data: Data, name: String) throws(TensorError) -> HostTensor {
        let header = try NPYHeader(readingFrom: data, file: name)
        guard header.descriptor == "<f4" else {
            throw TensorError(
                .unsupported, file: name,
                "the elements are of type \(TensorError.quote(header.descriptor)); only little-endian float32, '<f4', is read")
        }
        guard !header.isColumnMajor else {
            throw TensorError(.unsupported, file: name, "the array is in column-major order (fortran_order); only row-major order is read")
        }
        guard let byteCount = Shape.byteCount(of: header.shape, .float32) else {
            throw TensorError(.shape, file: name, "the size of shape \(header.shape) overflows")
        }
        let present = data.count - header.byteCount
        guard byteCount <= present else {
            throw TensorError(
                .truncated, file: name,
                "shape \(header.shape) of float32 needs \(byteCount) bytes behind the header, the file has \(present)")
        }
        guard byteCount == present else {
            throw TensorError(
                .trailingBytes, file: name,
                "\(present - byteCount) bytes follow the array, which ends at offset \(header.byteCount + byteCount)")
        }
        return HostTensor(checked: .float32, header.shape, data[(data.startIndex + header.byteCount)...])
    }

    /// Writes an array as version 1. Throws ``TensorError/Code/shape`` where the values are not as many as the shape needs.
    public static func write(_ values: [Float], shape: [Int], to path: String) throws(TensorError) {
        let tensor = try HostTensor(values, shape: shape)
        let header = try NPYHeader.text(shape: shape, reservedDigits: 0)
        var file = try PendingFile(path)
        try file.write(Data(header), at: 0)
        try file.write(tensor.data, at: header.count)
        try file.commit()
    }
}
