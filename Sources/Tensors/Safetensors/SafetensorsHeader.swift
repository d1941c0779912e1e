import Foundation
import JSON

/// The parsed and checked header: eight bytes of length (little-endian), then that many bytes of JSON.
struct SafetensorsHeader {
    /// The bound that the reference implementation has too.
    static let maximumByteCount = 100_000_000

    private(set) var metadata: [String: String] = [:]
    private(set) var tensors: [String: TensorDescriptor] = [:]
    private(set) var names: [String] = []

    private let file: String
    /// Offset of the first tensor byte in the file.
    private let dataStart: Int

    init(readingFrom data: Data, file: String) throws(TensorError) {
        let json = try Self.headerBytes(of: data, file: file)
        self.file = file
        dataStart = 8 + json.count
        try parse(json)
        try checkCoverage(fileByteCount: data.count)
    }

    // MARK: Length

    private static func headerBytes(of data: Data, file: String) throws(TensorError) -> [UInt8] {
        guard data.count >= 8 else {
            throw TensorError(
                .truncated, file: file, "a safetensors file starts with 8 bytes of header length, the file has \(data.count) bytes")
        }
        let length = UInt64(littleEndian: data.bytes.unsafeLoadUnaligned(as: UInt64.self))
        guard length > 0 else {
            throw TensorError(.headerLength, file: file, "the header length at offset 0 is 0")
        }
        guard length <= UInt64(maximumByteCount) else {
            throw TensorError(
                .headerLength, file: file,
                "the header length at offset 0 is \(length), more than the allowed \(maximumByteCount): this is no safetensors file, or a broken one"
            )
        }
        let end = 8 + Int(length)
        guard end <= data.count else {
            throw TensorError(.truncated, file: file, "the header needs \(end) bytes, the file has \(data.count)")
        }
        let start = data.startIndex
        guard data[start + 8] == UInt8(ascii: "{") else {
            throw TensorError(.header, file: file, "the header at offset 8 does not start with '{'")
        }
        return [UInt8](data[(start + 8)..<(start + end)])
    }

    // MARK: JSON

    private mutating func parse(_ json: [UInt8]) throws(TensorError) {
        var reader = JSONReader(json)
        do {
            var hasMetadata = false
            try reader.beginObject()
            while let name = try reader.nextKey() {
                if name == "__metadata__" {
                    guard !hasMetadata else { throw TensorError(.duplicateName, file: file, "the header has __metadata__ twice") }
                    hasMetadata = true
                    try parseMetadata(&reader)
                } else {
                    guard tensors[name] == nil else {
                        throw TensorError(.duplicateName, file: file, "the header has the tensor \(TensorError.quote(name)) twice")
                    }
                    tensors[name] = try parseTensor(name, &reader, json)
                }
            }
            try reader.finish()
        } catch let error as TensorError {
            throw error
        } catch let error as JSONError {
            throw TensorError(.header, file: file, "the header is not valid JSON at offset \(8 + error.offset): \(error.message)")
        } catch {
            throw TensorError(.header, file: file, "the header cannot be read: \(error)")
        }
    }

    private mutating func parseMetadata(_ reader: inout JSONReader) throws {
        guard try reader.peekKind() == .object else {
            throw TensorError(.metadata, file: file, "__metadata__ at offset \(8 + reader.offset) is not an object")
        }
        try reader.beginObject()
        while let key = try reader.nextKey() {
            guard try reader.peekKind() == .string else {
                throw TensorError(
                    .metadata, file: file,
                    "__metadata__: \(TensorError.quote(key)) at offset \(8 + reader.offset) is not a string")
            }
            guard metadata.updateValue(try reader.readString(), forKey: key) == nil else {
                throw TensorError(.duplicateName, file: file, "__metadata__ has \(TensorError.quote(key)) twice")
            }
        }
    }

    private func parseTensor(_ name: String, _ reader: inout JSONReader, _ json: [UInt8]) throws -> TensorDescriptor {
        func fault(_ code: TensorError.Code, _ message: String) -> TensorError {
            TensorError(code, file: file, "tensor \(TensorError.quote(name)): \(message)")
        }
        guard try reader.peekKind() == .object else {
            throw fault(.header, "an object with dtype, shape and data_offsets is expected at offset \(8 + reader.offset)")
        }
        var dtype: DType?
        var shape: [Int]?
        var offsets: [Int]?
        try reader.beginObject()
        while let key = try reader.nextKey() {
            switch key {
            case "dtype":
                guard dtype == nil else { throw fault(.duplicateName, "dtype stands twice") }
                guard try reader.peekKind() == .string else {
                    throw fault(.dataType, "dtype at offset \(8 + reader.offset) is not a string")
                }
                let text = try reader.readString()
                // No name is long, and comparing a long one may be slow: see JSONReader's keys.
                guard text.utf8.count <= 32, let known = DType(safetensorsName: text) else {
                    let all = DType.allCases.map(\.safetensorsName).joined(separator: ", ")
                    throw fault(.dataType, "unknown dtype \(TensorError.quote(text)); known are \(all)")
                }
                dtype = known
            case "shape":
                guard shape == nil else { throw fault(.duplicateName, "shape stands twice") }
                shape = try parseSizes(&reader, json, limit: Shape.maximumRank) { fault(.shape, "shape: \($0)") }
            case "data_offsets":
                guard offsets == nil else { throw fault(.duplicateName, "data_offsets stands twice") }
                offsets = try parseSizes(&reader, json, limit: 2) { fault(.offsets, "data_offsets: \($0)") }
            default:
                try reader.skipValue()
            }
        }
        guard let dtype else { throw fault(.header, "dtype is missing") }
        guard let shape else { throw fault(.header, "shape is missing") }
        guard let offsets else { throw fault(.header, "data_offsets is missing") }
        guard let byteCount = Shape.byteCount(of: shape, dtype) else {
            throw fault(.shape, "the size of shape \(shape) of \(dtype) overflows")
        }
        guard offsets.count == 2 else { throw fault(.offsets, "data_offsets: two numbers are expected, found \(offsets.count)") }
        guard offsets[0] <= offsets[1] else { throw fault(.offsets, "data_offsets \(offsets) end before they begin") }
        guard offsets[1] - offsets[0] == byteCount else {
            throw fault(
                .offsets, "data_offsets \(offsets) span \(offsets[1] - offsets[0]) bytes, shape \(shape) of \(dtype) needs \(byteCount)")
        }
        let (end, overflow) = offsets[1].addingReportingOverflow(dataStart)
        guard !overflow else { throw fault(.offsets, "data_offsets \(offsets) overflow") }
        return TensorDescriptor(name: name, dtype: dtype, shape: shape, byteRange: (dataStart + offsets[0])..<end)
    }

    /// An array of whole numbers from 0 on, written without fraction or exponent.
    private func parseSizes(
        _ reader: inout JSONReader, _ json: [UInt8], limit: Int, _ fault: (String) -> TensorError
    ) throws -> [Int] {
        guard try reader.peekKind() == .array else { throw fault("an array is expected at offset \(8 + reader.offset)") }
        var sizes: [Int] = []
        try reader.beginArray()
        while try reader.nextElement() {
            guard try reader.peekKind() == .number else { throw fault("a whole number is expected at offset \(8 + reader.offset)") }
            guard sizes.count < limit else { throw fault("more than \(limit) numbers at offset \(8 + reader.offset)") }
            let start = reader.offset
            let size: Int
            do throws(JSONError) {
                size = try reader.readInteger()
            } catch {
                if error.code == .range { throw fault("the number at offset \(8 + start) is not whole or too large") }
                throw error
            }
            guard json[start..<reader.offset].allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }) else {
                throw fault("the number at offset \(8 + start) is negative or not written as a whole number")
            }
            sizes.append(size)
        }
        return sizes
    }

    // MARK: Coverage

    /// Checks that the tensors lie end to end from the header to the end of the file, and puts ``names`` in that order.
    private mutating func checkCoverage(fileByteCount: Int) throws(TensorError) {
        let ordered = tensors.values.sorted {
            ($0.byteRange.lowerBound, $0.byteRange.upperBound, $0.name) < ($1.byteRange.lowerBound, $1.byteRange.upperBound, $1.name)
        }
        var position = dataStart
        for (index, tensor) in ordered.enumerated() {
            let begin = tensor.byteRange.lowerBound
            if begin < position {
                let previous = TensorError.quote(index > 0 ? ordered[index - 1].name : "")
                throw TensorError(
                    .overlap, file: file,
                    "tensor \(TensorError.quote(tensor.name)) starts at offset \(begin), inside tensor \(previous), which ends at \(position)"
                )
            }
            if begin > position {
                throw TensorError(
                    .gap, file: file,
                    "\(begin - position) bytes at offset \(position), before tensor \(TensorError.quote(tensor.name)), belong to no tensor")
            }
            position = tensor.byteRange.upperBound
        }
        if position > fileByteCount {
            let lost = ordered.first { $0.byteRange.upperBound > fileByteCount }.map { TensorError.quote($0.name) } ?? "the last tensor"
            throw TensorError(
                .truncated, file: file, "the tensors need \(position) bytes, the file has \(fileByteCount): cut off in tensor \(lost)")
        }
        if position < fileByteCount {
            throw TensorError(
                .trailingBytes, file: file,
                "the tensors end at offset \(position), \(fileByteCount - position) more bytes follow, which belong to no tensor")
        }
        names = ordered.map(\.name)
    }
}
