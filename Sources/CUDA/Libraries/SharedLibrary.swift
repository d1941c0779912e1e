import CCUDA

#if canImport(Musl)
    import Musl
#else
    import Glibc
#endif

/// A library opened at run time. It stays open as long as the process: code of its own may still run when the last user is gone.
struct SharedLibrary: @unchecked Sendable {
    // Safe to share: dlsym on an open library is thread-safe, and it is never closed.
    let handle: UnsafeMutableRawPointer
    /// The name or path that dlopen took.
    let path: String

    /// Opens the first candidate that can be opened.
    ///
    /// - Parameter override: A path from the environment. When it is given nothing else is tried: whoever names a library wants that one.
    static func open(
        _ title: String, candidates: [String], override: (variable: String, path: String?), code: CUDAError.Code, advice: String
    ) throws(CUDAError) -> SharedLibrary {
        let names = override.path.map { [$0] } ?? candidates
        var reasons: [String] = []
        for name in names {
            if let handle = dlopen(name, RTLD_NOW | RTLD_LOCAL) { return SharedLibrary(handle: handle, path: name) }
            reasons.append(dlerror().map { String(cString: $0) } ?? "\(name): cannot be opened")
        }
        let tried = override.path == nil ? "tried \(names.joined(separator: ", "))" : "\(override.variable)=\(names[0]) cannot be opened"
        throw CUDAError(code, "\(title) was not found: \(tried). \(advice)", detail: reasons.joined(separator: "\n"))
    }

    /// The names under which a toolkit's library may lie: what the loader knows first, then the toolkit's usual folders.
    static func candidates(_ names: [String], environment: Environment) -> [String] {
        var folders: [String] = []
        for variable in ["CUDA_HOME", "CUDA_PATH"] {
            guard let root = environment[variable] else { continue }
            folders.append("\(root)/lib64")
            folders.append("\(root)/lib")
        }
        folders.append("/usr/local/cuda/lib64")
        var paths: [String] = []
        for folder in folders {
            for path in names.map({ "\(folder)/\($0)" }) where !paths.contains(path) { paths.append(path) }
        }
        return names + paths
    }

    /// The error for a library that opened but is not what its name says.
    func incomplete(_ title: String, _ missing: apus_missing_symbols, code: CUDAError.Code, advice: String) -> CUDAError {
        let names = missing.list
        let shown = names.prefix(4).joined(separator: ", ") + (names.count > 4 ? " and \(names.count - 4) more" : "")
        return CUDAError(code, "\(title) at \(path) lacks \(shown). \(advice)", detail: names.joined(separator: "\n"))
    }
}

extension apus_missing_symbols {
    /// The names as Swift strings.
    var list: [String] {
        var copy = names
        return withUnsafeBytes(of: &copy) { bytes in
            bytes.bindMemory(to: UnsafePointer<CChar>?.self).prefix(count).compactMap { $0.map { String(cString: $0) } }
        }
    }
}
