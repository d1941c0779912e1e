import Synchronization

/// Compiled kernels on disk, so that a program compiles each kernel once per machine.
///
/// The folder is `APUS_CACHE`, else `$XDG_CACHE_HOME/apus/kernels`, else `~/.cache/apus/kernels`. Any number of processes may share it: files appear whole,
/// and two processes that compile the same kernel write the same file. An entry that is damaged counts as not there and is written anew. A folder that
/// cannot be written costs only time: see ``note``.
package final class KernelCache: Sendable {
    private static let suffix = ".kernel"
    /// Larger files are no cache entries of ours.
    private static let limit = 256 << 20

    /// The folder; nil when the environment names none.
    package let path: String?
    private let directory: CacheDirectory?
    private let failure = Mutex<String?>(nil)

    package init(environment: Environment = .process) {
        let path: String? =
            if let folder = environment["APUS_CACHE"] {
                folder
            } else if let folder = environment["XDG_CACHE_HOME"], folder.hasPrefix("/") {
                // The XDG rules say that a relative folder is to be ignored.
                "\(folder)/apus/kernels"
            } else {
                environment["HOME"].map { "\($0)/.cache/apus/kernels" }
            }
        self.path = path
        directory = path.map { CacheDirectory(path: $0) }
    }

    /// Why kernels are not kept, where they are not; nil while all is well.
    package var note: String? {
        guard let path else { return "compiled kernels are not kept: none of APUS_CACHE, XDG_CACHE_HOME and HOME is set" }
        return failure.withLock { $0 }.map { "compiled kernels are not kept in \(path): \($0)" }
    }

    func entry(_ key: String) -> CacheEntry? {
        guard let bytes = directory?.read(Self.fileName(key), limit: Self.limit), let entry = CacheEntry(bytes), entry.key == key else {
            return nil
        }
        return entry
    }

    func store(_ entry: CacheEntry) {
        guard let directory else { return }
        do {
            try directory.write(Self.fileName(entry.key), entry.bytes)
        } catch {
            failure.withLock { $0 = error.description }
        }
    }

    private static func fileName(_ key: String) -> String { Fingerprint(key.utf8).description + suffix }

    /// One readable entry of the folder.
    package struct Listing: Sendable {
        /// The kernel file and what it was compiled for.
        package let name: String
        package let architecture: String
        package let compiler: String
        package let fileByteCount: Int
        package let figures: [KernelFigures]
    }

    /// All readable entries. Reads every file.
    package func list() -> [Listing] {
        guard let directory else { return [] }
        return directory.names.filter { $0.hasSuffix(Self.suffix) }.compactMap { name in
            guard let bytes = directory.read(name, limit: Self.limit), let entry = CacheEntry(bytes) else { return nil }
            let title = KernelKey.Title(entry.key)
            let kernels = entry.kernels(name: title.name, architecture: title.architecture)
            return Listing(
                name: title.name, architecture: title.architecture, compiler: title.compiler, fileByteCount: bytes.count,
                figures: kernels.figures)
        }
    }

    /// Removes every entry.
    package func clear() {
        guard let directory else { return }
        for name in directory.names where name.hasSuffix(Self.suffix) { directory.remove(name) }
    }
}

/// The text that says all that a compilation depends on. Two compilations with the same text give the same machine code.
struct KernelKey {
    let text: String

    init(_ request: KernelRequest, constants: String, architecture: Architecture, compiler: String, options: [String]) {
        var text = "\(request.source.file.path)\n\(architecture)\n\(compiler)\n"
        // Every part is told with its length, so that no two lists of parts run together to the same text.
        func add(_ label: String, _ part: String) { text += "\(label) \(part.utf8.count)\n\(part)\n" }
        for option in options { add("option", option) }
        for expression in request.nameExpressions { add("expression", expression) }
        add("constants", constants)
        for file in [request.source.file] + request.source.headers {
            add("path", file.path)
            add("text", file.text)
        }
        self.text = text
    }

    /// The first lines of a key, for listings.
    struct Title {
        let name: String
        let architecture: String
        let compiler: String

        init(_ key: String) {
            let lines = key.split(separator: "\n", maxSplits: 3, omittingEmptySubsequences: false).map(String.init)
            name = lines.first ?? ""
            architecture = lines.count > 1 ? lines[1] : ""
            compiler = lines.count > 2 ? lines[2] : ""
        }
    }
}
