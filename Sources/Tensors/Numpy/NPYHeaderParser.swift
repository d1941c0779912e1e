/// Reads the Python literal in the header: a dictionary with the keys `descr`, `fortran_order` and `shape`, each once.
struct NPYHeaderParser {
    private let bytes: [UInt8]
    private var index = 0
    private let firstOffset: Int
    private let file: String

    init(_ bytes: [UInt8], firstOffset: Int, file: String) {
        self.bytes = bytes
        self.firstOffset = firstOffset
        self.file = file
    }

    mutating func parse() throws(TensorError) -> (descriptor: String, isColumnMajor: Bool, shape: [Int]) {
        var descriptor: String?
        var isColumnMajor: Bool?
        var shape: [Int]?
        try expect("{")
        while !take("}") {
            let keyStart = index
            let key = try string()
            try expect(":")
            switch key {
            case "descr" where descriptor == nil: descriptor = try descriptorValue()
            case "fortran_order" where isColumnMajor == nil: isColumnMajor = try boolean()
            case "shape" where shape == nil: shape = try tuple()
            default:
                index = keyStart
                throw fault(.header, "the key \(TensorError.quote(key)) is unknown or stands twice")
            }
            if !take(",") {
                try expect("}")
                break
            }
        }
        skipSpace()
        guard index == bytes.count else { throw fault(.header, "the end of the header is expected") }
        guard let descriptor, let isColumnMajor, let shape else {
            throw fault(.header, "the header must have descr, fortran_order and shape")
        }
        return (descriptor, isColumnMajor, shape)
    }

    // MARK: Values

    private mutating func descriptorValue() throws(TensorError) -> String {
        skipSpace()
        if index < bytes.count, bytes[index] == UInt8(ascii: "[") {
            throw fault(.unsupported, "the elements are records; only float32 is read")
        }
        return try string()
    }

    private mutating func string() throws(TensorError) -> String {
        skipSpace()
        guard index < bytes.count, bytes[index] == UInt8(ascii: "'") || bytes[index] == UInt8(ascii: "\"") else {
            throw fault(.header, "a string in quotes is expected")
        }
        let quote = bytes[index]
        let start = index + 1
        guard let end = bytes[start...].firstIndex(where: { $0 == quote || $0 == UInt8(ascii: "\\") || $0 < 0x20 || $0 > 0x7E }),
            bytes[end] == quote
        else {
            throw fault(.header, "a string of plain ASCII is expected")
        }
        index = end + 1
        return String(decoding: bytes[start..<end], as: UTF8.self)
    }

    private mutating func boolean() throws(TensorError) -> Bool {
        skipSpace()
        for (word, value) in [("True", true), ("False", false)] where bytes[index...].starts(with: word.utf8) {
            index += word.utf8.count
            return value
        }
        throw fault(.header, "True or False is expected")
    }

    private mutating func tuple() throws(TensorError) -> [Int] {
        try expect("(")
        var sizes: [Int] = []
        while !take(")") {
            guard sizes.count < Shape.maximumRank else { throw fault(.shape, "the shape has more than \(Shape.maximumRank) dimensions") }
            sizes.append(try size())
            if !take(",") {
                // (3) is a number in brackets, and no tuple.
                guard sizes.count > 1 else { throw fault(.header, "',' is expected") }
                try expect(")")
                break
            }
        }
        return sizes
    }

    private mutating func size() throws(TensorError) -> Int {
        skipSpace()
        let start = index
        var value = 0
        while index < bytes.count, bytes[index] >= UInt8(ascii: "0"), bytes[index] <= UInt8(ascii: "9") {
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(Int(bytes[index] - UInt8(ascii: "0")))
            guard !overflow, !carry else {
                index = start
                throw fault(.shape, "a dimension is too large")
            }
            value = sum
            index += 1
        }
        guard index > start else { throw fault(.shape, "a dimension, a number from 0 on, is expected") }
        // Python 2 wrote long integers so.
        if index < bytes.count, bytes[index] == UInt8(ascii: "L") { index += 1 }
        return value
    }

    // MARK: Characters

    private mutating func skipSpace() {
        while index < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[index]) { index += 1 }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        skipSpace()
        guard index < bytes.count, UInt32(bytes[index]) == character.value else { return false }
        index += 1
        return true
    }

    private mutating func expect(_ character: Unicode.Scalar) throws(TensorError) {
        guard take(character) else { throw fault(.header, "'\(character)' is expected") }
    }

    private func fault(_ code: TensorError.Code, _ message: String) -> TensorError {
        TensorError(code, file: file, "the header at offset \(firstOffset + index): \(message)")
    }
}
