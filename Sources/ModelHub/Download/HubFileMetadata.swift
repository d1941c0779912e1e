#if Hub
    import AsyncHTTPClient
    import NIOHTTP1

    /// What the hub says of one file before it is fetched.
    struct HubFileMetadata: Sendable {
        let file: String
        /// The blob's name: the sha256 of a large file, the git hash of a small one.
        let etag: String
        /// Nil where the server does not say.
        let size: Int?
    }

    extension HubSession {
        func metadata(of file: String, _ reference: ModelReference, commit: String) async throws -> HubFileMetadata {
            let address = try fileAddress(file, reference, commit: commit)
            return try await retrying {
                var answer = try await send(.HEAD, address, stopsAtForeignHost: true)
                if [405, 501].contains(answer.response.status.code) {
                    // No HEAD here: the first byte's headers say the same. The body is dropped unread.
                    answer = try await send(.GET, address, headers: [("Range", "bytes=0-0")], stopsAtForeignHost: true)
                }
                if !(300..<400).contains(answer.response.status.code) { try check(answer, reference, what: file) }
                return try read(answer, file, reference, commit)
            }
        }

        func fileAddress(_ file: String, _ reference: ModelReference, commit: String) throws(ModelHubError) -> HubAddress {
            let path = "\(reference.repository)/resolve/\(HubAddress.encode(commit))/\(HubAddress.encode(file, keepingSlashes: true))"
            guard let address = HubAddress("\(endpoint.text)/\(path)") else {
                throw ModelHubError(.server, "cannot make an address of the file name '\(file)'")
            }
            return address
        }

        private func read(
            _ answer: Answer, _ file: String, _ reference: ModelReference, _ commit: String
        ) throws(ModelHubError) -> HubFileMetadata {
            let headers = answer.response.headers
            if let found = answer.endpointHeader("X-Repo-Commit"), found != commit {
                throw ModelHubError(
                    .server, "\(reference.repository): asked for \(file) of commit \(commit), the server has it of \(found)")
            }
            let isRedirect = (300..<400).contains(answer.response.status.code)
            // A redirect's own ETag is that of the redirect.
            guard let rawTag = answer.endpointHeader("X-Linked-Etag") ?? (isRedirect ? nil : headers.first(name: "ETag")) else {
                throw ModelHubError(.server, "\(answer.address.display): the server gives no ETag, so the file could not be checked")
            }
            let etag = Self.normalize(rawTag)
            guard Self.isUsableTag(etag) else {
                throw ModelHubError(
                    .server, "\(answer.address.display): the ETag '\(ConfigurationObject.shorten(rawTag))' is no name for a file")
            }
            var size = answer.endpointHeader("X-Linked-Size")
            if size == nil, let range = headers.first(name: "Content-Range") { size = range.split(separator: "/").last.map(String.init) }
            if size == nil, !isRedirect { size = headers.first(name: "Content-Length") }
            let byteCount = size.flatMap { Int($0) }
            guard byteCount ?? 0 >= 0 else {
                throw ModelHubError(.server, "\(answer.address.display): the size '\(size ?? "")' is no size")
            }
            return HubFileMetadata(file: file, etag: etag, size: byteCount)
        }

        /// `"abc"` and `W/"abc"` to `abc`.
        private static func normalize(_ tag: String) -> String {
            var tag = tag[...]
            if tag.hasPrefix("W/") { tag = tag.dropFirst(2) }
            if tag.count >= 2, tag.first == "\"", tag.last == "\"" { tag = tag.dropFirst().dropLast() }
            return String(tag)
        }

        /// The tag names a file and a lock in the cache, so it is held to letters, digits, `-`, `_` and `.`.
        private static func isUsableTag(_ tag: String) -> Bool {
            !tag.hasPrefix(".") && tag.utf8.count <= 200 && ModelFile.isSafe(tag)
                && tag.utf8.allSatisfy { byte in
                    (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
                        || "-_.".utf8.contains(byte)
                }
        }
    }
#endif
