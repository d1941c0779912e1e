import ArgumentParser
import Foundation

/// Reads a file or standard input line by line, holding one line and one block in memory.
struct LineReader {
    private let handle: FileHandle
    private let name: String
    private var block: [UInt8] = []
    private var position = 0
    private var isAtEnd = false
    private(set) var lineNumber = 0
    /// Bytes of the file; nil for standard input and what else has no size.
    private var byteCount: Int?
    private var readByteCount = 0

    /// A longer line is refused: it is most likely a file of another kind.
    static let maximumLineLength = 256 << 20

    init(path: String) throws {
        name = path == "-" ? "standard input" : "'\(path)'"
        guard path != "-" else {
            handle = .standardInput
            return
        }
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
            throw ValidationError("there is no file '\(path)'")
        }
        guard !isDirectory.boolValue, let handle = FileHandle(forReadingAtPath: path) else {
            throw ValidationError("'\(path)' cannot be read as a file")
        }
        self.handle = handle
        byteCount = (try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? Int
    }

    /// The next line's bytes without its end (LF or CRLF), or nil behind the last.
    mutating func next() throws -> [UInt8]? {
        var line: [UInt8] = []
        while true {
            if position == block.count {
                if isAtEnd { break }
                block = Array(try handle.read(upToCount: 1 << 16) ?? Data())
                position = 0
                readByteCount += block.count
                if block.isEmpty {
                    isAtEnd = true
                    break
                }
            }
            if let end = block[position...].firstIndex(of: UInt8(ascii: "\n")) {
                line += block[position..<end]
                position = end + 1
                lineNumber += 1
                if line.last == UInt8(ascii: "\r") { line.removeLast() }
                return line
            }
            line += block[position...]
            position = block.count
            guard line.count <= Self.maximumLineLength else {
                throw ValidationError("line \(lineNumber + 1) of \(name) is longer than \(Self.maximumLineLength >> 20) MiB")
            }
        }
        guard !line.isEmpty else { return nil }
        lineNumber += 1
        return line
    }

    /// The share of the file that has been handed out; nil where its size is not known.
    var share: Double? {
        guard let byteCount, byteCount > 0 else { return nil }
        return Double(readByteCount - (block.count - position)) / Double(byteCount)
    }

    /// Where the last line stands, for messages.
    var place: String { "line \(lineNumber) of \(name)" }
}
