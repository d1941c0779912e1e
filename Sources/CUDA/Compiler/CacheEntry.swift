/// One file of the kernel cache: the whole key, so that a wrong entry cannot pass for the right one, and what was compiled for it.
///
/// Layout: a mark of 8 bytes with the format's version; four sections (key, names, log, cubin), each a length of 8 bytes, lowest first, and
/// its bytes; a fingerprint of 16 bytes of all that is before it.
struct CacheEntry {
    private static let mark = Array("APUSKC01".utf8)

    let key: String
    let names: String
    let log: String
    let cubin: [UInt8]

    init(key: String, _ kernels: CompiledKernels) {
        self.key = key
        names = kernels.loweredNames.sorted { $0.key < $1.key }.map { "\($0.key)\t\($0.value)" }.joined(separator: "\n")
        log = kernels.log
        cubin = kernels.cubin
    }

    /// Nil for a file that is damaged, cut short or of another version.
    init?(_ file: [UInt8]) {
        guard file.count >= Self.mark.count + 16, file.starts(with: Self.mark) else { return nil }
        let end = file.count - 16
        guard Fingerprint(file[..<end]).bytes.elementsEqual(file[end...]) else { return nil }
        var offset = Self.mark.count
        func section() -> ArraySlice<UInt8>? {
            guard end - offset >= 8 else { return nil }
            let count = file[offset..<offset + 8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            offset += 8
            guard count <= UInt64(end - offset) else { return nil }
            defer { offset += Int(count) }
            return file[offset..<offset + Int(count)]
        }
        guard let key = section(), let names = section(), let log = section(), let cubin = section(), offset == end else { return nil }
        self.key = String(decoding: key, as: UTF8.self)
        self.names = String(decoding: names, as: UTF8.self)
        self.log = String(decoding: log, as: UTF8.self)
        self.cubin = Array(cubin)
    }

    var bytes: [UInt8] {
        var bytes = Self.mark
        for section in [Array(key.utf8), Array(names.utf8), Array(log.utf8), cubin] {
            bytes += Fingerprint.bytes(of: UInt64(section.count))
            bytes += section
        }
        return bytes + Fingerprint(bytes).bytes
    }

    /// The kernels as they left the compiler.
    func kernels(name: String, architecture: String) -> CompiledKernels {
        var loweredNames: [String: String] = [:]
        for line in names.split(separator: "\n") {
            let parts = line.split(separator: "\t", maxSplits: 1)
            if parts.count == 2 { loweredNames[String(parts[0])] = String(parts[1]) }
        }
        return CompiledKernels(name: name, architecture: architecture, cubin: cubin, loweredNames: loweredNames, log: log)
    }
}
