#if Hub
    import AsyncHTTPClient
    import Foundation
    import NIOCore
    import NIOHTTP1

    extension HubSession {
        /// A file whose size the server does not say is cut off here.
        static let maximumUnknownByteCount = 64 << 30
        /// A server that brings a few bytes at a time is not waited for without end.
        static let maximumPieces = 1000

        /// Fetches `metadata`'s content to `blob`, going on from `blob.incomplete` where there is one, and checks size and hash before it gets its name.
        /// The caller holds the blob's lock.
        func fetch(
            _ metadata: HubFileMetadata, to blob: String, _ reference: ModelReference, commit: String, _ counter: DownloadProgressCounter
        ) async throws {
            let address = try fileAddress(metadata.file, reference, commit: commit)
            let partial = blob + ".incomplete"
            var wasResumed = (ModelFolder.regularFileSize(partial) ?? 0) > 0
            while true {
                wasResumed = try await receiveAll(metadata, to: partial, address, reference, counter) || wasResumed
                if try await BlobChecksum.matches(partial, etag: metadata.etag) { break }
                try? FileManager.default.removeItem(atPath: partial)
                // The piece from an earlier day may have been the broken one: once more, from the start.
                guard wasResumed else {
                    throw ModelHubError(
                        .integrity,
                        "\(metadata.file) of \(reference.repository): the content does not have the hash \(metadata.etag) that \(address.origin.host) states; "
                            + "nothing was kept, try again")
                }
                wasResumed = false
            }
            do {
                let file = try FileHandle(forUpdating: URL(fileURLWithPath: partial))
                try file.synchronize()
                try file.close()
                try FileManager.default.moveItem(atPath: partial, toPath: blob)
            } catch {
                throw HubBlobStore.failure(blob, error)
            }
        }

        /// Brings `partial` to its full size over as many requests as it takes; true when one of them went on from bytes already there.
        private func receiveAll(
            _ metadata: HubFileMetadata, to partial: String, _ address: HubAddress, _ reference: ModelReference,
            _ counter: DownloadProgressCounter
        ) async throws -> Bool {
            var wasResumed = false
            var failures = 0
            var mostBytes = 0
            for _ in 0..<Self.maximumPieces {
                let file = try PartialFile(path: partial)
                if let size = metadata.size, file.byteCount > size { try file.truncate() }
                if let size = metadata.size, file.byteCount == size { return wasResumed }
                mostBytes = max(mostBytes, file.byteCount)
                if file.byteCount > 0 { wasResumed = true }
                do {
                    try await receive(metadata, into: file, address, reference, counter)
                    // An empty file, or one of unknown size that has come to its end.
                    if file.byteCount == metadata.size ?? file.byteCount { return wasResumed }
                    throw Transient(
                        error: ModelHubError(
                            .integrity,
                            "\(metadata.file) of \(reference.repository): \(address.origin.host) announced \(metadata.size ?? 0) bytes and sent \(file.byteCount)"
                        ))
                } catch let transient as Transient {
                    failures = file.byteCount > mostBytes ? 1 : failures + 1
                    guard failures < retry.attempts else { throw transient.error }
                    try await Task.sleep(for: retry.delay(before: failures, serverAsks: transient.retryAfter))
                }
            }
            throw ModelHubError(.network, "\(metadata.file) of \(reference.repository): \(address.origin.host) breaks off again and again")
        }

        private func receive(
            _ metadata: HubFileMetadata, into file: PartialFile, _ address: HubAddress, _ reference: ModelReference,
            _ counter: DownloadProgressCounter
        ) async throws {
            let headers = file.byteCount > 0 ? [("Range", "bytes=\(file.byteCount)-")] : []
            let answer = try await send(.GET, address, headers: headers)
            let what = metadata.file
            switch answer.response.status.code {
            case 206:
                try checkRange(answer, metadata, file, reference)
            case 416:
                // What is here is not a beginning of what the server has.
                try file.truncate()
                throw Transient(
                    error: ModelHubError(.server, "\(answer.address.display): the server cannot go on in the middle of \(what) (416)"))
            case 200:
                // A server that knows no ranges starts again.
                if file.byteCount > 0 { try file.truncate() }
                try checkLength(answer, metadata, reference)
            default:
                try check(answer, reference, what: what)
                throw ModelHubError(.server, "\(answer.address.display): answered \(answer.response.status.code) for \(what)")
            }
            let limit = metadata.size ?? Self.maximumUnknownByteCount
            do {
                for try await chunk in answer.response.body {
                    try Task.checkCancellation()
                    guard chunk.readableBytes <= limit - file.byteCount else {
                        try file.truncate()
                        throw ModelHubError(
                            .integrity, "\(what) of \(reference.repository): \(address.origin.host) announced \(limit) bytes and sends more"
                        )
                    }
                    try file.append(Data(chunk.readableBytesView))
                    counter.update(metadata.file, byteCount: file.byteCount)
                }
            } catch {
                throw Self.failure(error, answer.address)
            }
        }

        /// A 206 must go on exactly where the file ends, in a file of the stated size.
        private func checkRange(_ answer: Answer, _ metadata: HubFileMetadata, _ file: PartialFile, _ reference: ModelReference) throws {
            let text = answer.response.headers.first(name: "Content-Range") ?? ""
            let parts = text.split(whereSeparator: { " -/".contains($0) }).map(String.init)
            guard parts.count == 4, parts[0].lowercased() == "bytes", Int(parts[1]) == file.byteCount,
                parts[3] == "*" || Int(parts[3]) != nil
            else {
                try file.truncate()
                throw Transient(
                    error: ModelHubError(
                        .server, "\(answer.address.display): asked to go on, got the range '\(ConfigurationObject.shorten(text))'"))
            }
            if let size = metadata.size, let total = Int(parts[3]), total != size {
                try file.truncate()
                throw wrongSize(metadata, total, answer, reference)
            }
        }

        private func checkLength(_ answer: Answer, _ metadata: HubFileMetadata, _ reference: ModelReference) throws {
            guard let size = metadata.size, let length = answer.response.headers.first(name: "Content-Length").flatMap({ Int($0) }) else {
                return
            }
            guard length == size else { throw wrongSize(metadata, length, answer, reference) }
        }

        private func wrongSize(_ metadata: HubFileMetadata, _ found: Int, _ answer: Answer, _ reference: ModelReference) -> ModelHubError {
            ModelHubError(
                .integrity,
                "\(metadata.file) of \(reference.repository): announced with \(metadata.size ?? 0) bytes, but \(answer.address.origin.host) has it with \(found)"
            )
        }
    }

    /// The piece of a blob that has arrived, open for appending.
    private final class PartialFile {
        private(set) var byteCount: Int
        private let handle: FileHandle
        private let path: String

        init(path: String) throws(ModelHubError) {
            self.path = path
            do {
                if ModelFolder.regularFileSize(path) == nil { try Data().write(to: URL(fileURLWithPath: path)) }
                handle = try FileHandle(forUpdating: URL(fileURLWithPath: path))
                byteCount = Int(try handle.seekToEnd())
            } catch {
                throw HubBlobStore.failure(path, error)
            }
        }

        deinit { try? handle.close() }

        func append(_ data: Data) throws(ModelHubError) {
            do {
                try handle.write(contentsOf: data)
                byteCount += data.count
            } catch {
                throw HubBlobStore.failure(path, error)
            }
        }

        func truncate() throws(ModelHubError) {
            do {
                try handle.truncate(atOffset: 0)
                byteCount = 0
            } catch {
                throw HubBlobStore.failure(path, error)
            }
        }
    }
#endif
