#if Hub
    import Foundation
    import JSON
    import NIOHTTP1

    /// Fetches models from a hub into the cache.
    ///
    /// A download can be stopped at any moment, by cancelling its task or by the power going: what has arrived stays in `blobs/ETAG.incomplete`, the next
    /// attempt goes on from there, and nothing appears under its name before its size and hash have been checked.
    package struct HubClient: Sendable {
        /// A repository's list of files larger than this is refused.
        static let maximumListingByteCount = 16 << 20

        let settings: HubSettings
        let cache: HubCache
        let retry: RetryPolicy

        package init(settings: HubSettings, retry: RetryPolicy = RetryPolicy()) {
            self.settings = settings
            cache = HubCache(settings: settings)
            self.retry = retry
        }

        /// Brings the files of `parts` that the cache lacks and gives the snapshot's folder.
        package func download(
            _ reference: ModelReference, parts: ModelParts = .all, progress: (@Sendable (DownloadProgress) -> Void)? = nil
        ) async throws -> ModelFolder {
            guard !settings.isOffline else {
                throw ModelHubError(.offline, "'\(reference.repository)' cannot be fetched: HF_HUB_OFFLINE is set")
            }
            do {
                return try await HubSession.run(settings: settings, retry: retry) { session in
                    try await download(reference, parts, session, progress)
                }
            } catch is CancellationError {
                throw ModelHubError(
                    .cancelled,
                    "the download of \(reference.repository) was stopped; what has arrived is kept and the next attempt goes on from there")
            } catch let transient as HubSession.Transient {
                throw transient.error
            }
        }

        private func download(
            _ reference: ModelReference, _ parts: ModelParts, _ session: HubSession, _ progress: (@Sendable (DownloadProgress) -> Void)?
        ) async throws -> ModelFolder {
            let listing = try await session.retrying { try await self.listing(reference, session) }
            let files = HubFileSelection.select(from: listing.files, for: parts)
            try checkOffer(listing.files, files, reference, parts)
            let snapshot = cache.snapshotPath(reference, commit: listing.commit)
            let missing = files.filter { ModelFolder.regularFileSize(snapshot + "/" + $0) == nil }
            if !missing.isEmpty {
                try HubBlobStore.prepare(cache, reference, commit: listing.commit)
                let metadata = try await Self.map(missing, width: retry.concurrentFiles) { file in
                    try await session.metadata(of: file, reference, commit: listing.commit)
                }
                let store = HubBlobStore(cache: cache, reference: reference, commit: listing.commit)
                try store.checkSpace(metadata)
                let counter = DownloadProgressCounter(totalByteCount: Self.total(metadata), fileCount: metadata.count, callback: progress)
                _ = try await Self.map(metadata, width: retry.concurrentFiles) { metadata in
                    try await store.provide(metadata, session, counter)
                }
            }
            // Last, so that a branch never stands for a commit whose files are not all here.
            try HubBlobStore.finish(cache, reference, commit: listing.commit, files: listing.files, parts: parts)
            return try ModelFolder(path: snapshot, name: reference.repository)
        }

        // MARK: The list of files

        private struct Listing: Sendable {
            let commit: String
            let files: [String]
        }

        private func listing(_ reference: ModelReference, _ session: HubSession) async throws -> Listing {
            let path = "api/models/\(reference.repository)/revision/\(HubAddress.encode(reference.revision))"
            guard let address = HubAddress("\(session.endpoint.text)/\(path)") else {
                throw ModelHubError(.server, "cannot make an address of '\(reference.repository)'")
            }
            let answer = try await session.send(.GET, address)
            try session.check(answer, reference, what: "the list of files")
            let bytes = try await session.collect(answer, limit: Self.maximumListingByteCount, what: "the list of files")
            do {
                return try Self.listing(in: ConfigurationObject(file: answer.address.display, parsing: bytes))
            } catch {
                throw ModelHubError(.server, error.message)
            }
        }

        private static func listing(in object: ConfigurationObject) throws(ModelHubError) -> Listing {
            let commit = try object.string("sha")
            guard commit.utf8.count <= 64, ModelFile.isSafe(commit), commit.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber) })
            else {
                throw ModelHubError(.server, "\(object.file): '\(ConfigurationObject.shorten(commit))' is no commit")
            }
            guard let siblings = object.value("siblings")?.arrayValue else {
                throw object.absent("siblings", expected: "the list of files")
            }
            var files: [String] = []
            for sibling in siblings {
                guard let file = sibling["rfilename"]?.stringValue else {
                    throw object.invalid("siblings", expected: "a list of objects with \"rfilename\"", found: sibling)
                }
                // A hub that offers such a name is broken or hostile; nothing of it is worth having.
                guard ModelFile.isSafe(file) else {
                    throw ModelHubError(
                        .server, "\(object.file): the file name '\(ConfigurationObject.shorten(file))' leads out of the model's folder")
                }
                files.append(file)
            }
            return Listing(commit: commit, files: files)
        }

        /// Refuses before a byte is fetched what could not be used afterwards.
        private func checkOffer(
            _ offered: [String], _ chosen: [String], _ reference: ModelReference, _ parts: ModelParts
        ) throws(ModelHubError) {
            if parts.contains(.configuration), !chosen.contains(ModelFile.configuration) {
                throw ModelHubError(.unsupported, "\(reference.repository) has no config.json: it is no model in Hugging Face layout")
            }
            if parts.contains(.weights), !chosen.contains(where: { $0.hasSuffix(".safetensors") && !$0.contains("/") }) {
                let other = offered.first { $0.hasSuffix(".bin") || $0.hasSuffix(".gguf") || $0.hasSuffix(".pt") || $0.hasSuffix(".onnx") }
                throw ModelHubError(
                    .unsupported,
                    "\(reference.repository) has no weights as safetensors\(other.map { " (it has \($0), which is not read)" } ?? "")")
            }
        }

        // MARK: Small tools

        /// The total size, or nil where one is unknown or the sum is beyond all bounds.
        private static func total(_ metadata: [HubFileMetadata]) -> Int? {
            var total = 0
            for file in metadata {
                guard let size = file.size else { return nil }
                let (sum, overflow) = total.addingReportingOverflow(size)
                guard !overflow else { return nil }
                total = sum
            }
            return total
        }

        /// `transform` of every element, at most `width` at a time; results in the elements' order.
        private static func map<Element: Sendable, Result: Sendable>(
            _ elements: [Element], width: Int, _ transform: @escaping @Sendable (Element) async throws -> Result
        ) async throws -> [Result] {
            try await withThrowingTaskGroup(of: (Int, Result).self) { group in
                var results = [Result?](repeating: nil, count: elements.count)
                for (index, element) in elements.enumerated() {
                    if index >= max(width, 1), let (done, result) = try await group.next() { results[done] = result }
                    group.addTask { (index, try await transform(element)) }
                }
                for try await (done, result) in group { results[done] = result }
                return results.compactMap { $0 }
            }
        }
    }
#endif
