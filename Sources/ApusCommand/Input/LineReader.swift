import ArgumentParser
import Foundation

/// Reads a file or standard input line by line, holding one line and one block in memory.
struct LineReader {
    private let handle: FileHandle
    /// The file, for messages.
    let name: String
    private var block: [UInt8] = []
    private var position = 0
    /// Where the next line ends in the block, once that is known.
    private var lineEnd: Int?
    /// What earlier blocks held of the next line.
    private var beginning: [UInt8] = []
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

    /// The next line's bytes without its end (LF or CRLF), or nil behind the last. Waits for the rest of a line whose writer takes its time.
    mutating func next() throws -> [UInt8]? {
        while !holdsLine { try fill() }
        guard let end = lineEnd else {
            guard !beginning.isEmpty else { return nil }
            defer { beginning = [] }
            lineNumber += 1
            return beginning
        }
        var line = beginning + block[position..<end]
        beginning = []
        position = end + 1
        lineEnd = nil
        lineNumber += 1
        if line.last == UInt8(ascii: "\r") { line.removeLast() }
        return line
    }

    /// Whether ``next()`` need not wait: its line, or the end of the input, is there or comes within the time.
    mutating func isReady(within milliseconds: Int32) throws -> Bool {
        while !holdsLine {
            var descriptor = pollfd(fd: handle.fileDescriptor, events: Int16(POLLIN), revents: 0)
            // A fault, like the end, is for reading to find.
            guard poll(&descriptor, 1, milliseconds) != 0 else { return false }
            try fill()
        }
        return true
    }

    /// Whether a whole line or the end of the input has been read.
    private var holdsLine: Bool {
        mutating get {
            if lineEnd == nil { lineEnd = block[position...].firstIndex(of: UInt8(ascii: "\n")) }
            return lineEnd != nil || isAtEnd
        }
    }

    /// Keeps what the block holds of a line and reads the next block, as much as is there.
    private mutating func fill() throws {
        beginning += block[position...]
        position = 0
        guard beginning.count <= Self.maximumLineLength else {
            throw ValidationError("line \(lineNumber + 1) of \(name) is longer than \(Self.maximumLineLength >> 20) MiB")
        }
        block = [UInt8](repeating: 0, count: 1 << 16)
        // Not by FileHandle, which waits until the block is full.
        var count = read(handle.fileDescriptor, &block, block.count)
        while count < 0, errno == EINTR { count = read(handle.fileDescriptor, &block, block.count) }
        let fault = errno
        block.removeLast(block.count - max(0, count))
        guard count >= 0 else { throw ValidationError("\(name) cannot be read: \(String(cString: strerror(fault)))") }
        readByteCount += count
        isAtEnd = count == 0
    }

    /// The share of the file that has been handed out; nil where its size is not known.
    var share: Double? {
        guard let byteCount, byteCount > 0 else { return nil }
        return Double(readByteCount - (block.count - position)) / Double(byteCount)
    }
}
