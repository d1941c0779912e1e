import Synchronization

#if canImport(Musl)
    import Musl
#else
    import Glibc
#endif

/// A folder of files that appear whole or not at all: written under a temporary name, brought to the disk, renamed.
struct CacheDirectory: Sendable {
    let path: String

    private static let serial = Atomic<UInt64>(0)

    /// A file's bytes; nil when it is not there, cannot be read or is larger than the limit.
    static func read(_ path: String, limit: Int) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_size >= 0, status.st_size <= limit else {
            return nil
        }
        let capacity = Int(status.st_size)
        var failed = false
        let bytes = [UInt8](unsafeUninitializedCapacity: capacity) { buffer, initialized in
            while initialized < capacity {
                let count = systemRead(descriptor, buffer.baseAddress.map { $0 + initialized }, capacity - initialized)
                if count < 0, errno == EINTR { continue }
                failed = count < 0
                // The file may have been cut since its size was read; its end is then where it is now.
                guard count > 0 else { break }
                initialized += count
            }
        }
        return failed ? nil : bytes
    }

    func read(_ name: String, limit: Int) -> [UInt8]? { Self.read("\(path)/\(name)", limit: limit) }

    /// Writes a file, in place of one of the same name. Throws the system's reason as text.
    func write(_ name: String, _ bytes: [UInt8]) throws(Failure) {
        try Self.create(path)
        let serial = Self.serial.wrappingAdd(1, ordering: .relaxed).newValue
        let temporary = "\(path)/.\(name).\(getpid()).\(serial).\(UInt32.random(in: 0...UInt32.max))"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw Failure("cannot write in \(path)") }
        do throws(Failure) {
            try Self.write(descriptor, bytes, temporary)
            guard fsync(descriptor) == 0 else { throw Failure("cannot write \(temporary)") }
        } catch {
            close(descriptor)
            unlink(temporary)
            throw error
        }
        close(descriptor)
        guard rename(temporary, "\(path)/\(name)") == 0 else {
            let failure = Failure("cannot rename \(temporary)")
            unlink(temporary)
            throw failure
        }
    }

    /// The names of all files, sorted; those still being written left out.
    var names: [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names.sorted()
    }

    func remove(_ name: String) { unlink("\(path)/\(name)") }

    private static func write(_ descriptor: Int32, _ bytes: [UInt8], _ name: String) throws(Failure) {
        var offset = 0
        while offset < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                systemWrite(descriptor, buffer.baseAddress.map { $0 + offset }, bytes.count - offset)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Failure("cannot write \(name)") }
            offset += count
        }
    }

    /// Makes a folder and those above it.
    private static func create(_ path: String) throws(Failure) {
        if mkdir(path, 0o755) == 0 || errno == EEXIST { return }
        if errno == ENOENT, let slash = path.lastIndex(of: "/"), slash > path.startIndex {
            try create(String(path[..<slash]))
            if mkdir(path, 0o755) == 0 || errno == EEXIST { return }
        }
        throw Failure("cannot make the folder \(path)")
    }

    /// What went wrong, with the system's reason.
    struct Failure: Error, CustomStringConvertible {
        let description: String

        init(_ work: String) { description = "\(work): \(String(cString: strerror(errno)))" }
    }
}

// The members of this type named read and write would shadow the system's.
private func systemRead(_ descriptor: Int32, _ buffer: UnsafeMutablePointer<UInt8>?, _ count: Int) -> Int {
    read(descriptor, buffer, count)
}
private func systemWrite(_ descriptor: Int32, _ buffer: UnsafeRawPointer?, _ count: Int) -> Int { write(descriptor, buffer, count) }
