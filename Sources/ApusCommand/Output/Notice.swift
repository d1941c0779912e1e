import Foundation

/// Remarks for people, on stderr, so that output stays clean.
enum Notice {
    static func write(_ text: String) {
        FileHandle.standardError.write(Data("apus: \(text)\n".utf8))
    }
}
