#if Hub
    import Foundation

    /// Writes one commit of one model into the cache: blobs, links, refs.
    struct HubBlobStore: Sendable {
        let cache: HubCache
        let reference: ModelReference
        let commit: String

        private var repository: String { cache.repositoryPath(reference) }

        func blobPath(_ etag: String) -> String { repository + "/blobs/" + etag }

        /// Puts `metadata`'s file into the snapshot, fetching its blob unless the cache has it.
        func provide(_ metadata: HubFileMetadata, _ session: HubSession, _ counter: DownloadProgressCounter) async throws {
            let blob = blobPath(metadata.etag)
            let lock = try await FileLock(
                waitingFor: cache.directory + "/.locks/" + reference.cacheFolderName + "/" + metadata.etag + ".lock")
            // Another process may have brought it while this one waited.
            if ModelFolder.regularFileSize(blob) == nil {
                try await session.fetch(metadata, to: blob, reference, commit: commit, counter)
            }
            try link(metadata)
            counter.update(metadata.file, byteCount: ModelFolder.regularFileSize(blob) ?? 0, isComplete: true)
            _ = consume lock
        }

        /// `snapshots/COMMIT/FILE` as a relative link to the blob; a copy where the file system has no links.
        private func link(_ metadata: HubFileMetadata) throws {
            let pointer = cache.snapshotPath(reference, commit: commit) + "/" + metadata.file
            let up = String(repeating: "../", count: metadata.file.split(separator: "/").count + 1)
            let manager = FileManager.default
            guard ModelFolder.regularFileSize(pointer) == nil else { return }
            do {
                try manager.createDirectory(atPath: (pointer as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
                // What stands there is a link to a blob that is gone.
                try? manager.removeItem(atPath: pointer)
                do {
                    try manager.createSymbolicLink(atPath: pointer, withDestinationPath: up + "blobs/" + metadata.etag)
                } catch {
                    guard ModelFolder.regularFileSize(pointer) == nil else { return }
                    try manager.copyItem(atPath: blobPath(metadata.etag), toPath: pointer)
                }
            } catch {
                throw Self.failure(pointer, error)
            }
        }

        /// Refuses a download that cannot fit, before it fills the disk.
        func checkSpace(_ files: [HubFileMetadata]) throws(ModelHubError) {
            var needed = 0
            for file in files where ModelFolder.regularFileSize(blobPath(file.etag)) == nil {
                let there = ModelFolder.regularFileSize(blobPath(file.etag) + ".incomplete") ?? 0
                let (sum, overflow) = needed.addingReportingOverflow(max(0, (file.size ?? 0) - there))
                needed = overflow ? .max : sum
            }
            guard let attributes = try? FileManager.default.attributesOfFileSystem(forPath: cache.directory),
                let free = (attributes[.systemFreeSize] as? NSNumber)?.int64Value, needed > free
            else { return }
            throw ModelHubError(
                .cache,
                "\(reference.repository) needs \(Self.show(needed)) more, \(cache.directory) has \(Self.show(Int(free))) free; "
                    + "make room or set HF_HUB_CACHE to another folder")
        }

        private static func show(_ byteCount: Int) -> String {
            let megabytes = byteCount / 1_000_000
            return megabytes < 10_000 ? "\(megabytes) MB" : "\(megabytes / 1000) GB"
        }

        // MARK: Before and after

        static func prepare(_ cache: HubCache, _ reference: ModelReference, commit: String) throws(ModelHubError) {
            let repository = cache.repositoryPath(reference)
            for path in [
                repository + "/blobs", repository + "/refs", cache.snapshotPath(reference, commit: commit),
                cache.directory + "/.locks/" + reference.cacheFolderName,
            ] {
                do {
                    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
                } catch {
                    throw failure(path, error)
                }
            }
            // Lets backup programs leave the cache out (the Cache Directory Tagging Specification).
            let tag = cache.directory + "/CACHEDIR.TAG"
            if !FileManager.default.fileExists(atPath: tag) {
                try? "Signature: 8a477f597d28d172789f06886806bc55\n".write(toFile: tag, atomically: true, encoding: .utf8)
            }
        }

        /// Notes which files the hub does not have, and what the branch or tag stands for.
        static func finish(
            _ cache: HubCache, _ reference: ModelReference, commit: String, files: [String], parts: ModelParts
        ) throws(ModelHubError) {
            let repository = cache.repositoryPath(reference)
            let manager = FileManager.default
            let offered = Set(files)
            for file in HubFileSelection.optionalFiles(for: parts) + (parts.contains(.tokenizer) ? [ModelFile.tokenizer] : [])
            where !offered.contains(file) {
                // A hint for the next start; without it that one asks the hub again.
                try? manager.createDirectory(atPath: repository + "/.no_exist/" + commit, withIntermediateDirectories: true)
                _ = manager.createFile(atPath: repository + "/.no_exist/" + commit + "/" + file, contents: nil)
            }
            guard reference.revision != commit else { return }
            let path = repository + "/refs/" + reference.revision
            if (try? String(contentsOfFile: path, encoding: .utf8)) == commit { return }
            do {
                try manager.createDirectory(atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
                try Data(commit.utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
            } catch {
                throw failure(path, error)
            }
        }

        static func failure(_ path: String, _ error: any Error) -> ModelHubError {
            if let error = error as? ModelHubError { return error }
            return ModelHubError(
                .cache, "cannot write \(path): \(ModelFolder.reason(error)); HF_HUB_CACHE can name another folder for the model cache")
        }
    }
#endif
