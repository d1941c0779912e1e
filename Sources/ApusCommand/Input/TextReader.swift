import ArgumentParser
import Foundation
import JSON
import Tokenizers

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

    /// The share of the input that has been read; nil where its size is not known.
    var share: Double? { lines.share }

    /// The next text, or nil behind the last.
    mutating func next() throws -> String? { try next(1, isAwaited: { false }).first }

    /// Up to `count` further texts, none behind the last. Fewer come ahead of a faulty line, which the next call throws, and where the writer of the
    /// input takes its time and somebody waits. Blank lines between JSON values are passed over; in plain text they are empty texts.
    ///
    /// - Parameter isAwaited: whether somebody has nothing to do until these texts come.
    mutating func next(_ count: Int, isAwaited: () -> Bool) throws -> [String] {
        if let fault { throw fault }
        let read = takeLines(count, isAwaited: isAwaited)
        // On all processors, as the tokenising behind it: several GPUs wait for what one does.
        let (isPlainText, name) = (isPlainText, lines.name)
        let parsed = read.concurrentMap { line in Result { try line.text(isPlainText: isPlainText, file: name) } }
        var texts: [String] = []
        texts.reserveCapacity(parsed.count)
        do {
            for text in parsed { texts.append(try text.get()) }
            if texts.isEmpty, let fault { throw fault }
        } catch {
            fault = error
            if texts.isEmpty { throw error }
        }
        return texts
    }

    /// Lines that hold a text. A fault of reading is kept for the call behind them.
    private mutating func takeLines(_ count: Int, isAwaited: () -> Bool) -> [Line] {
        var taken: [Line] = []
        do {
            while taken.count < count {
                while !taken.isEmpty, try !lines.isReady(within: Self.patience) {
                    if isAwaited() { return taken }
                }
                guard let line = try lines.next() else { break }
                if isPlainText || !line.allSatisfy({ $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }) {
                    taken.append(Line(bytes: line, number: lines.lineNumber))
                }
            }
        } catch {
            fault = error
        }
        return taken
    }

    /// Milliseconds in which a writer that is not slow writes on.
    private static let patience: Int32 = 20
}

private struct Line: Sendable {
    let bytes: [UInt8]
    let number: Int

    func text(isPlainText: Bool, file: String) throws -> String {
        let place = "line \(number) of \(file)"
        if isPlainText {
            guard let text = String(validating: bytes, as: UTF8.self) else { throw ValidationError("\(place) is not valid UTF-8") }
            return text
        }
        let value: JSONValue
        do {
            value = try JSONValue(parsing: bytes)
        } catch {
            throw ValidationError("\(place) is no JSON (\(error.message)); plain text needs a .txt file")
        }
        if let text = value.stringValue ?? value["text"]?.stringValue { return text }
        throw ValidationError("\(place) is a JSON \(value.typeName), expected a string or an object with \"text\"")
    }
}
