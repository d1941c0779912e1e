import Foundation

/// Whether opening a model may use the network.
package enum DownloadPolicy: Sendable {
    /// Fetch what the cache lacks; a model that is there is used as it is.
    case ifMissing
    /// Ask the hub whether the branch has moved, then as ``ifMissing``.
    case update
    /// Only folders and the cache.
    case never
}

extension ModelFolder {
    /// The model that `reference` names: a folder's path, or `owner/name[@revision]` from Hugging Face's cache or the hub.
    ///
    /// A folder that exists wins over a hub name. `parts` says what must be there and limits what is fetched. Throws with the code `notFound`,
    /// `offline`, `noDownload` and those of a download; every message says what to do.
    package static func open(
        _ reference: String, parts: ModelParts = .all, download: DownloadPolicy = .ifMissing,
        environment: [String: String] = ProcessInfo.processInfo.environment, retry: RetryPolicy = RetryPolicy(),
        progress: (@Sendable (DownloadProgress) -> Void)? = nil
    ) async throws -> ModelFolder {
        let settings = HubSettings(environment: environment)
        let hubReference: ModelReference
        switch try locate(reference, environment) {
        case .folder(let folder): return folder
        case .hub(let name): hubReference = name
        }
        let snapshot = HubCache(settings: settings).snapshot(of: hubReference)
        if let snapshot {
            let isFixed = download != .update || hubReference.isCommit
            if isFixed, snapshot.isComplete(for: parts) { return snapshot.folder }
        }
        let usable = snapshot.flatMap { $0.missingFiles(for: parts).isEmpty ? $0 : nil }
        guard download != .never, !settings.isOffline, hubReference.hasOwner else {
            if let usable { return usable.folder }
            throw unavailable(hubReference, snapshot, parts, settings, download)
        }
        #if Hub
            do {
                return try await HubClient(settings: settings, retry: retry).download(hubReference, parts: parts, progress: progress)
            } catch let error as ModelHubError {
                // What is here still runs without a network, without a token, or from a cache that cannot be written.
                let mayServe: [ModelHubError.Code] =
                    download == .update ? [.network, .server] : [.network, .server, .unauthorized, .forbidden, .cache]
                if let usable, mayServe.contains(error.code) { return usable.folder }
                throw error
            }
        #else
            if let usable { return usable.folder }
            throw ModelHubError(
                .noDownload,
                "'\(reference)' is not in the cache (\(settings.cacheDirectory)) and this build cannot download; put the model at "
                    + "\(settings.cacheDirectory) with another tool, give a folder, or build with the Hub trait")
        #endif
    }

    private enum Location {
        case folder(ModelFolder)
        case hub(ModelReference)
    }

    private static func locate(_ reference: String, _ environment: [String: String]) throws(ModelHubError) -> Location {
        guard !reference.isEmpty, !reference.utf8.contains(0) else {
            throw ModelHubError(.invalidReference, "a model's name must not be empty")
        }
        let isPath = ["/", "./", "../", "~/"].contains { reference.hasPrefix($0) } || [".", "..", "~"].contains(reference)
        if isPath { return .folder(try ModelFolder(path: HubSettings.expand(reference, environment), name: reference)) }
        if FileManager.default.fileExists(atPath: reference) { return .folder(try ModelFolder(path: reference)) }
        guard let name = ModelReference(parsing: reference) else {
            throw ModelHubError(.notFound, "'\(reference)' is no folder, and no hub name of the form owner/name or owner/name@revision")
        }
        return .hub(name)
    }

    private static func unavailable(
        _ reference: ModelReference, _ snapshot: CachedSnapshot?, _ parts: ModelParts, _ settings: HubSettings, _ download: DownloadPolicy
    ) -> ModelHubError {
        let name = reference.repository + (reference.revision == ModelReference.defaultRevision ? "" : "@" + reference.revision)
        guard reference.hasOwner else {
            return ModelHubError(
                .notFound,
                "'\(name)' is no folder and not in the cache (\(settings.cacheDirectory)); did you mean ./\(name)? "
                    + "A model of the hub is named owner/name")
        }
        var message = "'\(name)' is no folder and "
        if let missing = snapshot?.missingFiles(for: parts), !missing.isEmpty {
            message += "only in part in the cache (\(settings.cacheDirectory)): \(missing.prefix(5).joined(separator: ", ")) missing"
        } else {
            message += "not in the cache (\(settings.cacheDirectory))"
        }
        if settings.isOffline {
            return ModelHubError(.offline, message + "; HF_HUB_OFFLINE is set, so it is not fetched: unset it, or did you mean ./\(name)?")
        }
        return ModelHubError(.notFound, message + "; it was not to be fetched. Did you mean ./\(name)?")
    }
}
