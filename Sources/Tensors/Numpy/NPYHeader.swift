import Foundation

/// The header: magic, version, length, and a Python dictionary of three entries.
struct NPYHeader {
    static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)

    /// NumPy's name of the element type, such as `<f4`.
    let descriptor: String
    let isColumnMajor: Bool
    let shape: [Int]
    /// Bytes before the first element.
    let byteCount: Int

    init(readingFrom data: Data, file: String) throws(TensorError) {
        let start = data.startIndex
        guard data.count >= 10 else {
            throw TensorError(.truncated, file: file, "an .npy file has at least 10 bytes, this one has \(data.count)")
        }
        guard data[start..<start + 6].elementsEqual(Self.magic) else {
            throw TensorError(.header, file: file, "is no .npy file: offset 0 does not hold \\x93NUMPY")
        }
        let version = data[start + 6]
        guard (1...3).contains(version), data[start + 7] == 0 else {
            throw TensorError(
                .unsupported, file: file, "format version \(version).\(data[start + 7]) at offset 6; 1.0, 2.0 and 3.0 are read")
        }
        let lengthByteCount = version == 1 ? 2 : 4
        let textStart = 8 + lengthByteCount
        guard data.count >= textStart else {
            throw TensorError(.truncated, file: file, "the header length at offset 8 is cut off: the file has \(data.count) bytes")
        }
        var length = 0
        for index in (8..<textStart).reversed() { length = length << 8 | Int(data[start + index]) }
        guard length <= NPY.maximumHeaderByteCount else {
            throw TensorError(
                .headerLength, file: file, "the header length at offset 8 is \(length), more than the allowed \(NPY.maximumHeaderByteCount)"
            )
        }
        byteCount = textStart + length
        guard byteCount <= data.count else {
            throw TensorError(.truncated, file: file, "the header needs \(byteCount) bytes, the file has \(data.count)")
        }
        var parser = NPYHeaderParser([UInt8](data[(start + textStart)..<(start + byteCount)]), firstOffset: textStart, file: file)
        (descriptor, isColumnMajor, shape) = try parser.parse()
    }

    /// The whole header of a float32 array in row-major order, version 1, padded so that the elements start at a multiple of 64.
    ///
    /// `reservedDigits` leaves room for the first dimension to grow to so many digits without the header changing its size.
    static func text(shape: [Int], reservedDigits: Int) throws(TensorError) -> [UInt8] {
        let sizes = shape.map(String.init).joined(separator: ", ") + (shape.count == 1 ? "," : "")
        var text = "{'descr': '<f4', 'fortran_order': False, 'shape': (\(sizes)), }"
        if let first = shape.first { text += String(repeating: " ", count: max(0, reservedDigits - String(first).count)) }
        // Ten bytes stand before the text and a line break ends it.
        text += String(repeating: " ", count: (64 - (10 + text.utf8.count + 1) % 64) % 64) + "\n"
        let length = text.utf8.count
        guard length <= 0xFFFF else { throw TensorError(.shape, "a shape of \(shape.count) dimensions does not fit the header") }
        return magic + [1, 0, UInt8(length & 0xFF), UInt8(length >> 8)] + Array(text.utf8)
    }
}
