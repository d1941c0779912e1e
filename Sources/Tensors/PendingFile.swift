import Foundation

/// A file under way: written beside its place under a temporary name, and moved there only when it is whole.
struct PendingFile: ~Copyable {
    let path: String
    private let temporaryPath: String
    private let handle: FileHandle
    private var position: UInt64 = 0
    /// Written since the last time that all was brought to the disk.
    private var waitingByteCount = 0
    /// The disk works while the rest of a large file is made, not all at its end.
    private static let mostWaitingBytes = 64 << 20
    private var isCommitted = false

    init(_ path: String) throws(TensorError) {
        guard !path.isEmpty, !path.utf8.contains(0) else {
            throw TensorError(.unwritable, file: path, "the path is empty or holds a zero byte")
        }
        let target = URL(fileURLWithPath: path)
        let temporary = target.deletingLastPathComponent().appendingPathComponent(".\(target.lastPathComponent).\(UUID().uuidString).tmp")
        var isDirectory: ObjCBool = false
        if FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory), isDirectory.boolValue {
            throw TensorError(.unwritable, file: path, "is a folder; it cannot be written as a file")
        }
        let handle: FileHandle
        do {
            try Data().write(to: temporary, options: .withoutOverwriting)
            handle = try FileHandle(forWritingTo: temporary)
        } catch {
            throw TensorError(.unwritable, file: path, "cannot be created: \(SystemFault.text(error))")
        }
        self.path = path
        temporaryPath = temporary.path
        self.handle = handle
    }

    deinit {
        guard !isCommitted else { return }
        try? handle.close()
        try? FileManager.default.removeItem(atPath: temporaryPath)
    }

    mutating func write(_ bytes: Data, at offset: Int) throws(TensorError) {
        do {
            if position != UInt64(offset) {
                try handle.seek(toOffset: UInt64(offset))
                position = UInt64(offset)
            }
            try handle.write(contentsOf: bytes)
            position += UInt64(bytes.count)
            waitingByteCount += bytes.count
            if waitingByteCount >= Self.mostWaitingBytes {
                try handle.synchronize()
                waitingByteCount = 0
            }
        } catch {
            throw TensorError(.unwritable, file: path, "cannot be written at offset \(offset): \(SystemFault.text(error))")
        }
    }

    /// Brings the bytes to the disk and the file to its place.
    mutating func commit() throws(TensorError) {
        try close()
        guard rename(temporaryPath, path) == 0 else {
            throw TensorError(.unwritable, file: path, "cannot be put in its place: \(String(cString: strerror(errno)))")
        }
        isCommitted = true
    }

    /// Brings the bytes to the disk and leaves the file where it was written, which is returned.
    mutating func keep() throws(TensorError) -> String {
        try close()
        isCommitted = true
        return temporaryPath
    }

    private mutating func close() throws(TensorError) {
        do {
            try handle.synchronize()
            try handle.close()
        } catch {
            throw TensorError(.unwritable, file: path, "cannot be written: \(SystemFault.text(error))")
        }
    }
}
