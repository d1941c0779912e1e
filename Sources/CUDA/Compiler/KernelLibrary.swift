import CKernels

#if canImport(Musl)
    import Musl
#else
    import Glibc
#endif

/// The kernels' sources: those in the binary, or those of a folder that is being worked on.
package struct KernelLibrary: Sendable {
    private enum Origin: Sendable {
        case texts([String: String])
        case folder(String)
    }

    private let origin: Origin

    /// The sources in the binary.
    package static let embedded = KernelLibrary(texts: Self.embeddedTexts())

    /// The folder in `APUS_KERNELS`, or the sources in the binary.
    package static func current(environment: Environment = .process) -> KernelLibrary {
        environment["APUS_KERNELS"].map { KernelLibrary(folder: $0) } ?? .embedded
    }

    /// Sources given by path.
    package init(texts: [String: String]) { origin = .texts(texts) }

    /// Sources read from a folder laid out as Kernels/ is, each when it is asked for.
    package init(folder: String) { origin = .folder(folder) }

    /// Where the sources come from, for messages.
    package var title: String {
        switch origin {
        case .texts: "the kernels in this program"
        case .folder(let path): path
        }
    }

    /// The paths of the sources in the binary, in the order of the table.
    package static let embeddedPaths: [String] = {
        var paths: [String] = []
        while let path = apus_kernel_file_at(paths.count).path { paths.append(String(cString: path)) }
        return paths
    }()

    private static func embeddedTexts() -> [String: String] {
        var texts: [String: String] = [:]
        for (index, path) in embeddedPaths.enumerated() {
            guard let text = apus_kernel_file_at(index).text else { continue }
            texts[path] = String(cString: text)
        }
        return texts
    }

    package func text(_ path: String) -> String? {
        switch origin {
        case .texts(let texts): texts[path]
        case .folder(let folder): CacheDirectory.read("\(folder)/\(path)", limit: 16 << 20).map { String(decoding: $0, as: UTF8.self) }
        }
    }

    /// A kernel file with the headers that it reads, directly or through others.
    ///
    /// `#include "name"` is looked for beside the file that asks for it and then from the top of Kernels/, as `nvcc -I Kernels` does, and is rewritten to the
    /// path from the top, so that one header has one name. A name that is not there stays as it is, and NVRTC says so with file and line.
    package func source(_ path: String) throws(CUDAError) -> KernelSource {
        guard let text = text(path) else {
            throw CUDAError(.kernelSource, "there is no kernel \(path) in \(title)")
        }
        var headers: [String: String] = [:]
        var waiting: [String] = []
        func resolve(_ text: String, in file: String) -> String {
            Self.rewriteIncludes(text) { name in
                let folder = file.lastIndex(of: "/").map { file[...$0] } ?? ""
                for candidate in ["\(folder)\(name)", name] {
                    guard let header = Self.normalized(candidate) else { continue }
                    if headers[header] != nil { return header }
                    guard let text = self.text(header) else { continue }
                    headers[header] = text
                    waiting.append(header)
                    return header
                }
                return nil
            }
        }
        let resolved = resolve(text, in: path)
        while let header = waiting.popLast() {
            if let text = headers[header] { headers[header] = resolve(text, in: header) }
        }
        return KernelSource(path: path, text: resolved, headers: headers.map { KernelSource.File(path: $0.key, text: $0.value) })
    }

    /// Puts another name into every `#include "name"` for which there is one; lines stay where they are.
    private static func rewriteIncludes(_ text: String, _ path: (String) -> String?) -> String {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
            let parts = line.split(separator: "\"", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3, parts[0].filter({ $0 != " " && $0 != "\t" }) == "#include", let target = path(String(parts[1])) else {
                continue
            }
            lines[index] = "\(parts[0])\"\(target)\"\(parts[2])"
        }
        return lines.joined(separator: "\n")
    }

    /// The path without "." and ".."; nil when it leaves the folder.
    private static func normalized(_ path: String) -> String? {
        var parts: [Substring] = []
        for part in path.split(separator: "/") {
            switch part {
            case ".": continue
            case "..": if parts.popLast() == nil { return nil }
            default: parts.append(part)
            }
        }
        return parts.isEmpty ? nil : parts.joined(separator: "/")
    }
}
