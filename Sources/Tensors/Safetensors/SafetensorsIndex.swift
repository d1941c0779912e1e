import Foundation
import JSON

/// `model.safetensors.index.json`: which shard holds which tensor.
package struct SafetensorsIndex: Sendable {
    /// The largest index that is read.
    package static let maximumByteCount = 100_000_000

    /// From tensor name to the plain name of a file beside the index.
    package let shardNames: [String: String]

    /// The shards' names, each once, sorted.
    package var shards: [String] { Set(shardNames.values).sorted() }

    package init(contentsOf path: String) throws(TensorError) {
        let data = try Data(mappingFileAt: path)
        guard data.count <= Self.maximumByteCount else {
            throw TensorError(.index, file: path, "the index has \(data.count) bytes, more than the allowed \(Self.maximumByteCount)")
        }
        try self.init(parsing: [UInt8](data), file: path)
    }

    /// Parses the index. Only `weight_map` is kept. Memory: at most 24 times the text's size.
    package init(parsing bytes: [UInt8], file: String) throws(TensorError) {
        do {
            var map: [String: String]?
            var reader = JSONReader(bytes)
            guard try reader.peekKind() == .object else { throw TensorError(.index, file: file, "the index is not a JSON object") }
            try reader.beginObject()
            while let key = try reader.nextKey() {
                guard key == "weight_map" else {
                    try reader.skipValue()
                    continue
                }
                guard map == nil else { throw TensorError(.duplicateName, file: file, "weight_map stands twice") }
                map = try Self.readWeightMap(&reader, file)
            }
            try reader.finish()
            guard let map else { throw TensorError(.index, file: file, "the index has no weight_map") }
            shardNames = map
        } catch let error as TensorError {
            throw error
        } catch let error as JSONError {
            throw TensorError(.index, file: file, "the index is not valid JSON at offset \(error.offset): \(error.message)")
        } catch {
            throw TensorError(.index, file: file, "the index cannot be read: \(error)")
        }
    }

    private static func readWeightMap(_ reader: inout JSONReader, _ file: String) throws -> [String: String] {
        var map: [String: String] = [:]
        guard try reader.peekKind() == .object else {
            throw TensorError(.index, file: file, "weight_map at offset \(reader.offset) is not an object")
        }
        try reader.beginObject()
        while let tensor = try reader.nextKey() {
            guard try reader.peekKind() == .string else {
                throw TensorError(
                    .index, file: file, "the shard of tensor \(TensorError.quote(tensor)) at offset \(reader.offset) is not a string")
            }
            let shard = try reader.readString()
            guard isPlainName(shard) else {
                throw TensorError(
                    .index, file: file,
                    "the shard \(TensorError.quote(shard)) of tensor \(TensorError.quote(tensor)) is not the plain name of a file in this folder"
                )
            }
            guard map.updateValue(shard, forKey: tensor) == nil else {
                throw TensorError(.duplicateName, file: file, "weight_map has the tensor \(TensorError.quote(tensor)) twice")
            }
        }
        return map
    }

    /// Whether `name` stays in the folder that it is looked up in: a single path component, not hidden, no separator of any system.
    private static func isPlainName(_ name: String) -> Bool {
        let bytes = name.utf8
        guard let first = bytes.first, first != UInt8(ascii: "."), bytes.count <= 255 else { return false }
        return bytes.allSatisfy {
            $0 >= 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "\\") && $0 != UInt8(ascii: ":")
        }
    }
}
