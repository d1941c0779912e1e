package import Foundation

/// A model in the cache, as `apus models` shows it.
package struct CachedModel: Sendable {
    package struct Revision: Sendable {
        package let commit: String
        /// The branches and tags that stand for this commit, sorted.
        package let refs: [String]
        package let path: String
        package let fileCount: Int
        package let byteCount: Int
        package let lastModified: Date
    }

    /// `owner/name`.
    package let repository: String
    package let path: String
    /// Newest first.
    package let revisions: [Revision]
    /// Of all revisions together; a blob that several share counts once.
    package let byteCount: Int
    /// When a file of it was last read, as far as the file system keeps that.
    package let lastUsed: Date
    /// Of downloads that were broken off.
    package let incompleteByteCount: Int
}

extension HubCache {
    /// The models in the cache, by name. A folder that is no model, or one that cannot be read, is left out; a cache that does not exist is empty.
    package func list() -> [CachedModel] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        return names.sorted().compactMap(model(inFolder:))
    }

    private struct Blob {
        let byteCount: Int
        let lastModified: Date
        let lastUsed: Date
    }

    private func model(inFolder name: String) -> CachedModel? {
        let prefix = "models--"
        guard name.hasPrefix(prefix), name.utf8.count > prefix.utf8.count else { return nil }
        let manager = FileManager.default
        let path = directory + "/" + name
        guard let commits = try? manager.contentsOfDirectory(atPath: path + "/snapshots") else { return nil }
        let refs = readRefs(path + "/refs")
        var blobs: [String: Blob] = [:]
        var revisions: [CachedModel.Revision] = []
        for commit in commits {
            let snapshot = path + "/snapshots/" + commit
            var own: [String: Blob] = [:]
            var fileCount = 0
            guard let files = try? manager.subpathsOfDirectory(atPath: snapshot) else { continue }
            for file in files {
                let target = URL(fileURLWithPath: snapshot + "/" + file).resolvingSymlinksInPath().path
                guard let blob = Self.blob(target) else { continue }
                fileCount += 1
                own[target] = blob
            }
            blobs.merge(own) { _, new in new }
            revisions.append(
                CachedModel.Revision(
                    commit: commit, refs: refs.filter { $0.value == commit }.keys.sorted(), path: snapshot, fileCount: fileCount,
                    byteCount: Self.sum(own.values.map(\.byteCount)),
                    lastModified: own.values.map(\.lastModified).max() ?? .distantPast))
        }
        guard !revisions.isEmpty else { return nil }
        let partial = ((try? manager.contentsOfDirectory(atPath: path + "/blobs")) ?? []).filter { $0.hasSuffix(".incomplete") }
        return CachedModel(
            repository: name.dropFirst(prefix.count).split(separator: "--", omittingEmptySubsequences: false).joined(separator: "/"),
            path: path,
            revisions: revisions.sorted { ($0.lastModified, $0.commit) > ($1.lastModified, $1.commit) },
            byteCount: Self.sum(blobs.values.map(\.byteCount)), lastUsed: blobs.values.map(\.lastUsed).max() ?? .distantPast,
            incompleteByteCount: Self.sum(partial.map { ModelFolder.regularFileSize(path + "/blobs/" + $0) ?? 0 }))
    }

    /// Commits by ref, `refs/pr/1` and the like included.
    private func readRefs(_ path: String) -> [String: String] {
        var refs: [String: String] = [:]
        for name in (try? FileManager.default.subpathsOfDirectory(atPath: path)) ?? [] where !name.hasSuffix(".tmp") {
            guard let size = ModelFolder.regularFileSize(path + "/" + name), size < 1024,
                let text = try? String(contentsOfFile: path + "/" + name, encoding: .utf8)
            else { continue }
            refs[name] = text.trimmingCharacters(in: .whitespacesAndNewlines)
        }
        return refs
    }

    private static func blob(_ path: String) -> Blob? {
        guard let size = ModelFolder.regularFileSize(path) else { return nil }
        let url = URL(fileURLWithPath: path)
        let values = try? url.resourceValues(forKeys: [.contentModificationDateKey, .contentAccessDateKey])
        let modified = values?.contentModificationDate ?? .distantPast
        return Blob(byteCount: size, lastModified: modified, lastUsed: max(modified, values?.contentAccessDate ?? .distantPast))
    }

    private static func sum(_ sizes: [Int]) -> Int {
        sizes.reduce(0) { total, size in
            let (sum, overflow) = total.addingReportingOverflow(size)
            return overflow ? .max : sum
        }
    }
}
