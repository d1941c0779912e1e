/// GPT-2's way to write bytes as printable characters: 256 scalars, each standing for one byte.
enum ByteAlphabet {
    /// [byte] scalar
    static let scalars: [UInt32] = {
        var scalars = [UInt32](repeating: 0, count: 256)
        var next: UInt32 = 256
        for byte in 0..<256 {
            switch byte {
            case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: scalars[byte] = UInt32(byte)
            default:
                scalars[byte] = next
                next += 1
            }
        }
        return scalars
    }()

    /// [scalar] byte, or -1; scalars above the table stand for none.
    static let bytes: [Int16] = {
        var bytes = [Int16](repeating: -1, count: 0x144)
        for (byte, scalar) in scalars.enumerated() { bytes[Int(scalar)] = Int16(byte) }
        return bytes
    }()

    /// Appends the characters that stand for `text[range]`.
    static func append(_ text: [UInt8], _ range: Range<Int>, to output: inout [UInt8]) {
        let scalars = scalars
        for index in range { output.append(scalar: scalars[Int(text[index])]) }
    }

    /// Appends the bytes that `token` stands for, or the token's own bytes where one of its characters stands for none.
    static func appendDecoded(_ token: [UInt8], to output: inout [UInt8]) {
        let start = output.count
        let bytes = bytes
        var index = 0
        while index < token.count {
            let (scalar, next) = token.scalar(at: index)
            guard scalar < bytes.count, bytes[Int(scalar)] >= 0 else {
                output.removeLast(output.count - start)
                output.append(contentsOf: token)
                return
            }
            output.append(UInt8(truncatingIfNeeded: bytes[Int(scalar)]))
            index = next
        }
    }
}
