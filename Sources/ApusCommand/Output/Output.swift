import Foundation

/// The reader of our output went away, or the disk is full.
struct OutputClosed: Error, CustomStringConvertible {
    let description: String
    let isBrokenPipe: Bool
}

/// Text or bytes to standard output or a file; a file takes its name only when it is complete.
///
/// Sendable for the one on standard output: a command writes from one place at a time.
final class Output: @unchecked Sendable {
    private let handle: FileHandle
    private let path: String?
    private let temporaryPath: String?
    private var buffer = Data()

    static let standard = Output(handle: .standardOutput)

    private init(handle: FileHandle) {
        self.handle = handle
        path = nil
        temporaryPath = nil
    }

    /// - Parameter path: nil or `-` for standard output.
    static func open(_ path: String?) throws -> Output {
        guard let path, path != "-" else { return standard }
        return try Output(path: path)
    }

    private init(path: String) throws {
        let temporary = path + ".partial-\(ProcessInfo.processInfo.processIdentifier)"
        guard FileManager.default.createFile(atPath: temporary, contents: nil), let handle = FileHandle(forWritingAtPath: temporary) else {
            throw OutputClosed(description: "cannot write '\(path)'; does its folder exist and may you write there?", isBrokenPipe: false)
        }
        self.handle = handle
        self.path = path
        temporaryPath = temporary
    }

    func write(_ text: String) throws {
        buffer.append(contentsOf: text.utf8)
        if buffer.count >= 1 << 16 { try flush() }
    }

    func writeLine(_ text: String) throws { try write(text + "\n") }

    func flush() throws {
        guard !buffer.isEmpty else { return }
        do {
            try handle.write(contentsOf: buffer)
        } catch {
            let isBrokenPipe = path == nil
            throw OutputClosed(
                description: "cannot write \(path.map { "'\($0)'" } ?? "the output"): \(error.localizedDescription)", isBrokenPipe: isBrokenPipe)
        }
        buffer.removeAll(keepingCapacity: true)
    }

    /// Writes what is left of an output that something else ended. A file keeps its temporary name, which is returned; an empty one is removed.
    func keepUnfinished() throws -> String? {
        try flush()
        guard let temporaryPath else { return nil }
        let byteCount = try handle.offset()
        try handle.close()
        guard byteCount == 0 else { return temporaryPath }
        try FileManager.default.removeItem(atPath: temporaryPath)
        return nil
    }

    /// Writes what is left and gives a file its name.
    func close() throws {
        try flush()
        guard let path, let temporaryPath else { return }
        try handle.close()
        guard rename(temporaryPath, path) == 0 else {
            throw OutputClosed(description: "cannot write '\(path)': \(String(cString: strerror(errno)))", isBrokenPipe: false)
        }
    }
}
