package import Foundation

/// The files of one model: a directory in Hugging Face layout, or files held in memory (a model embedded in the binary).
///
/// Opening costs nothing; files are read when they are asked for. Names are relative, with `/` between components; a name that would lead out of
/// the folder is never followed. To find a model by name use ``open(_:parts:download:environment:progress:)``.
package struct ModelFolder: Sendable {
    enum Storage: Sendable {
        case directory(String)
        case memory([String: Data])
    }

    /// JSON files larger than this are refused: the largest real one, a multilingual tokenizer.json, has 33 MB.
    package static let defaultMaximumByteCount = 512 << 20

    /// What messages call the model: the hub name, or the folder's path.
    package let name: String
    let storage: Storage

    /// The folder at `path`, which must exist.
    package init(path: String, name: String? = nil) throws(ModelHubError) {
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
            throw ModelHubError(.notFound, "there is no folder '\(path)'")
        }
        guard isDirectory.boolValue else {
            throw ModelHubError(.notFound, "'\(path)' is a file; give the folder that holds the model's files")
        }
        self.name = name ?? path
        storage = .directory(path)
    }

    /// A model whose files are in memory, by their relative names.
    package init(files: [String: Data], name: String) {
        self.name = name
        storage = .memory(files)
    }

    /// The directory on disk, or nil for files in memory.
    package var directory: String? {
        if case .directory(let path) = storage { path } else { nil }
    }

    /// True when `file` is there and is a regular file (or a link to one).
    package func contains(_ file: String) -> Bool {
        guard ModelFile.isSafe(file) else { return false }
        switch storage {
        case .directory(let root): return Self.regularFileSize(root + "/" + file) != nil
        case .memory(let files): return files[file] != nil
        }
    }

    /// Where `file` lies on disk; nil when it is absent or in memory.
    package func path(of file: String) -> String? {
        guard case .directory(let root) = storage, contains(file) else { return nil }
        return root + "/" + file
    }

    /// All of `file`. Throws `notFound` when it is absent and `invalidFile` when it is larger than `maximumByteCount`.
    package func bytes(of file: String, maximumByteCount: Int = ModelFolder.defaultMaximumByteCount) throws(ModelHubError) -> [UInt8] {
        [UInt8](try read(file, maximumByteCount: maximumByteCount, options: []))
    }

    /// The content of `file` without a copy: mapped from disk, or the memory it already lies in. Meant for weights.
    package func data(of file: String) throws(ModelHubError) -> Data {
        try read(file, maximumByteCount: .max, options: .alwaysMapped)
    }

    private func read(_ file: String, maximumByteCount: Int, options: Data.ReadingOptions) throws(ModelHubError) -> Data {
        let byteCount: Int
        switch storage {
        case .memory(let files):
            guard let data = files[file] else { throw missing(file) }
            guard data.count <= maximumByteCount else { throw tooLarge(file, data.count, maximumByteCount) }
            return data
        case .directory(let root):
            guard ModelFile.isSafe(file) else {
                throw ModelHubError(.invalidReference, "\(name): the file name '\(file)' leads out of the folder")
            }
            guard let size = Self.regularFileSize(root + "/" + file) else { throw missing(file) }
            byteCount = size
            guard byteCount <= maximumByteCount else { throw tooLarge(file, byteCount, maximumByteCount) }
            do {
                return try Data(contentsOf: URL(fileURLWithPath: root + "/" + file), options: options)
            } catch {
                throw ModelHubError(.invalidFile, "cannot read \(describe(file)): \(Self.reason(error))")
            }
        }
    }

    /// The same model seen from one of its sub-folders, such as `0_Transformer`.
    package func subfolder(_ path: String) throws(ModelHubError) -> ModelFolder {
        guard ModelFile.isSafe(path) else {
            throw ModelHubError(.invalidReference, "\(name): the folder name '\(path)' leads out of the model's folder")
        }
        switch storage {
        case .directory(let root): return try ModelFolder(path: root + "/" + path, name: name + "/" + path)
        case .memory(let files):
            let prefix = path + "/"
            var inside: [String: Data] = [:]
            for (file, data) in files where file.hasPrefix(prefix) { inside[String(file.dropFirst(prefix.count))] = data }
            return ModelFolder(files: inside, name: name + "/" + path)
        }
    }

    /// The names of the files directly in `subfolder` ("" for the root), sorted.
    package func fileNames(in subfolder: String = "") -> [String] {
        switch storage {
        case .directory(let root):
            guard subfolder.isEmpty || ModelFile.isSafe(subfolder) else { return [] }
            let names = (try? FileManager.default.contentsOfDirectory(atPath: root + "/" + subfolder)) ?? []
            return names.filter { contains(subfolder.isEmpty ? $0 : subfolder + "/" + $0) }.sorted()
        case .memory(let files):
            let prefix = subfolder.isEmpty ? "" : subfolder + "/"
            return files.keys.filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }.filter { !$0.contains("/") }
                .sorted()
        }
    }

    /// `file` as messages name it: its path, or "file of model".
    package func describe(_ file: String) -> String {
        switch storage {
        case .directory(let root): root + "/" + file
        case .memory: "\(file) of the model \(name)"
        }
    }

    private func missing(_ file: String) -> ModelHubError {
        ModelHubError(.notFound, "\(name) has no file \(file)")
    }

    private func tooLarge(_ file: String, _ byteCount: Int, _ maximum: Int) -> ModelHubError {
        ModelHubError(.invalidFile, "\(describe(file)) has \(byteCount) bytes; at most \(maximum) are read")
    }

    /// The size of a regular file behind any links, or nil for anything else: a device or a pipe in a model folder would block or never end.
    static func regularFileSize(_ path: String) -> Int? {
        let manager = FileManager.default
        guard manager.fileExists(atPath: path) else { return nil }
        let resolved = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
        guard let attributes = try? manager.attributesOfItem(atPath: resolved), attributes[.type] as? FileAttributeType == .typeRegular
        else {
            return nil
        }
        return (attributes[.size] as? NSNumber)?.intValue
    }

    /// The system's own words for a file error ("No space left on device"), without Foundation's wrapping.
    static func reason(_ error: any Error) -> String {
        let error = error as NSError
        if let underlying = error.userInfo[NSUnderlyingErrorKey] as? NSError { return reason(underlying) }
        if error.domain == NSPOSIXErrorDomain, let code = POSIXErrorCode(rawValue: Int32(truncatingIfNeeded: error.code)) {
            let text = POSIXError(code).localizedDescription
            let wrapping = "The operation could not be completed. "
            return text.hasPrefix(wrapping) ? String(text.dropFirst(wrapping.count)) : text
        }
        return error.localizedDescription
    }
}
