import ArgumentParser
import Foundation
import JSON

/// The texts of an input: of a .txt file one a line, of any other file or standard input one JSON string or object with "text" a line.
struct TextReader {
    private var lines: LineReader
    private let isPlainText: Bool
    /// What is wrong with the line behind the texts that were handed out.
    private var fault: (any Error)?

    init(path: String) throws {
        lines = try LineReader(path: path)
        isPlainText = path.lowercased().hasSuffix(".txt")
    }

    /// The next text, or nil behind the last. Blank lines between JSON values are passed over; in plain text they are empty texts.
    mutating func next() throws -> String? {
        while let line = try lines.next() {
            if let text = try text(of: line) { return text }
        }
        return nil
    }

    /// The share of the input that has been read; nil where its size is not known.
    var share: Double? { lines.share }

    /// Up to `count` further texts, none behind the last. Fewer come ahead of a faulty line, which the next call throws, and where the writer of the
    /// input takes its time and somebody waits.
    ///
    /// - Parameter isAwaited: whether somebody has nothing to do until these texts come.
    mutating func next(_ count: Int, isAwaited: () -> Bool) throws -> [String] {
        if let fault { throw fault }
        var texts: [String] = []
        do {
            while texts.count < count {
                while !texts.isEmpty, try !lines.isReady(within: Self.patience) {
                    if isAwaited() { return texts }
                }
                guard let line = try lines.next() else { break }
                if let text = try text(of: line) { texts.append(text) }
            }
        } catch {
            guard !texts.isEmpty else { throw error }
            fault = error
        }
        return texts
    }

    /// Milliseconds in which a writer that is not slow writes on.
    private static let patience: Int32 = 20

    /// The text of a line, or nil for a blank one between JSON values.
    private func text(of line: [UInt8]) throws -> String? {
        if isPlainText {
            guard let text = String(validating: line, as: UTF8.self) else { throw ValidationError("\(lines.place) is not valid UTF-8") }
            return text
        }
        if line.allSatisfy({ $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }) { return nil }
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
