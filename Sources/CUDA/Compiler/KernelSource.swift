/// One translation unit: a kernel file and every header that it reads, by the paths that messages show.
package struct KernelSource: Sendable, Hashable {
    package struct File: Sendable, Hashable {
        package let path: String
        package let text: String

        package init(path: String, text: String) {
            self.path = path
            self.text = text
        }
    }

    package let file: File
    /// Sorted by path.
    package let headers: [File]

    package init(path: String, text: String, headers: [File] = []) {
        file = File(path: path, text: text)
        self.headers = headers.sorted { $0.path < $1.path }
    }

    /// 32 hexadecimal digits that change with any path or text.
    package var fingerprint: String {
        var bytes: [UInt8] = []
        for file in [file] + headers {
            for part in [file.path, file.text] { bytes += Fingerprint.bytes(of: UInt64(part.utf8.count)) + Array(part.utf8) }
        }
        return Fingerprint(bytes).description
    }
}
