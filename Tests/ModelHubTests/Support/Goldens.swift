import Foundation
import JSON

/// The committed results of the Python programs in Goldens.
enum Goldens {
    struct Missing: Error { let name: String }

    static func json(_ name: String) throws -> JSONValue {
        guard let url = Bundle.module.url(forResource: name, withExtension: "json", subdirectory: "Goldens") else {
            throw Missing(name: name)
        }
        return try JSONValue(parsing: Array(try Data(contentsOf: url)))
    }

    static func bytes(hex: String) -> [UInt8] {
        let digits = Array(hex.utf8)
        return stride(from: 0, to: digits.count - 1, by: 2).compactMap {
            UInt8(String(decoding: digits[$0...$0 + 1], as: UTF8.self), radix: 16)
        }
    }
}
