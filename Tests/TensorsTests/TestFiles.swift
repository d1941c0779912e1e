import Foundation
import Tensors
import Testing

/// Files for the tests: the goldens, folders that vanish, and safetensors bytes with any header.
enum TestFiles {
    /// The path of a file made by Goldens/make_goldens.py.
    static func golden(_ name: String) throws -> String {
        try #require(Bundle.module.url(forResource: "Goldens", withExtension: nil)).appendingPathComponent(name).path
    }

    /// Calls `body` with the path of a new folder, which is removed afterwards.
    static func withFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("apus-tensors-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        return try body(folder.path)
    }

    /// The names in a folder, sorted, hidden ones too.
    static func names(in folder: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    }

    /// A safetensors file of this header and so many bytes 0, 1, 2...
    static func safetensors(_ header: String, dataByteCount: Int = 0, headerLength: UInt64? = nil) -> Data {
        let length = headerLength ?? UInt64(header.utf8.count)
        return Data((0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) })
            + Data(header.utf8) + Data((0..<dataByteCount).map { UInt8(truncatingIfNeeded: $0) })
    }

    /// The error that `body` throws, which must be a ``TensorError``.
    static func error(sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void) throws -> TensorError {
        let error = #expect(throws: TensorError.self, sourceLocation: sourceLocation, performing: body)
        return try #require(error, sourceLocation: sourceLocation)
    }
}
