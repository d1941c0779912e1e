import ArgumentParser
import Foundation
import JSON

/// The texts of an input: of a .txt file one a line, of any other file or standard input one JSON string or object with "text" a line.
struct TextReader {
    private var lines: LineReader
    private let isPlainText: Bool

    init(path: String) throws {
        lines = try LineReader(path: path)
        isPlainText = path.lowercased().hasSuffix(".txt")
    }

    /// The next text, or nil behind the last. Blank lines between JSON values are passed over; in plain text they are empty texts.
    mutating func next() throws -> String? {
        while let line = try lines.next() {
            if isPlainText {
                guard let text = String(validating: line, as: UTF8.self) else {
                    throw ValidationError("\(lines.place) is not valid UTF-8")
                }
                return text
            }
            if line.allSatisfy({ $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }) { continue }
            return try text(of: line)
        }
        return nil
    }

    /// The share of the input that has been read; nil where its size is not known.
    var share: Double? { lines.share }

    /// Up to `count` further texts.
    mutating func next(_ count: Int) throws -> [String] {
        var texts: [String] = []
        while texts.count < count, let text = try next() { texts.append(text) }
        return texts
    }

    private func text(of line: [UInt8]) throws -> String {
        let value: JSONValue
        do {
            value = try JSONValue(parsing: line)
        } catch {
            throw ValidationError("\(lines.place) is no JSON (\(error.message)); plain text needs a .txt file")
        }
        if let text = value.stringValue ?? value["text"]?.stringValue { return text }
        throw ValidationError("\(lines.place) is a JSON \(value.typeName), expected a string or an object with \"text\"")
    }
}
