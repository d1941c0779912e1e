package import Foundation

extension Data {
    /// The whole file at `path`, mapped and not copied; the pages come in as they are read.
    ///
    /// Links are followed. Anything but a regular file is refused before it is opened, since a pipe would block and a device never end.
    /// A file that another process cuts short while it is mapped ends this process when a lost page is read: no reader can check that.
    package init(mappingFileAt path: String) throws(TensorError) {
        try RegularFile.check(path)
        do {
            self = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
        } catch {
            throw TensorError(.unreadable, file: path, "cannot be read: \(SystemFault.text(error))")
        }
    }
}

/// What a path must name before it is opened.
enum RegularFile {
    static func check(_ path: String) throws(TensorError) {
        switch try kind(of: path) {
        case .typeRegular: return
        case .typeDirectory: throw TensorError(.notRegularFile, file: path, "is a folder; a file is expected")
        default: throw TensorError(.notRegularFile, file: path, "is a pipe, a socket or a device; a regular file is expected")
        }
    }

    /// The kind of what `path` leads to, links followed.
    static func kind(of path: String) throws(TensorError) -> FileAttributeType {
        guard !path.isEmpty, !path.utf8.contains(0) else {
            throw TensorError(.notFound, file: path, "the path is empty or holds a zero byte")
        }
        let attributes: [FileAttributeKey: Any]
        do {
            attributes = try FileManager.default.attributesOfItem(atPath: URL(fileURLWithPath: path).resolvingSymlinksInPath().path)
        } catch {
            let code: TensorError.Code = FileManager.default.fileExists(atPath: path) ? .unreadable : .notFound
            throw TensorError(code, file: path, code == .notFound ? "there is no such file" : "cannot be read: \(SystemFault.text(error))")
        }
        return attributes[.type] as? FileAttributeType ?? .typeUnknown
    }
}

/// The operating system's own words out of Foundation's errors.
enum SystemFault {
    static func text(_ error: any Error) -> String {
        let fault = error as NSError
        if let underlying = fault.userInfo[NSUnderlyingErrorKey] as? NSError, underlying.domain == NSPOSIXErrorDomain {
            return underlying.localizedDescription
        }
        return fault.localizedDescription
    }
}
