import Foundation
import JSON
import OrderedCollections

/// Hugging Face's cache of hub models on disk, in its own layout, so that one download serves Python and Apus.
///
///     models--owner--name/blobs/ETAG                      the contents, named by their hash
///                         snapshots/COMMIT/FILE           relative links to blobs
///                         refs/REVISION                   a file that holds the commit of a branch or tag
///                         .no_exist/COMMIT/FILE           an empty file: the hub has no such file in this commit
///     .locks/models--owner--name/ETAG.lock                held while a blob is written
package struct HubCache: Sendable {
    package let directory: String

    package init(directory: String) { self.directory = directory }

    package init(settings: HubSettings) { directory = settings.cacheDirectory }

    func repositoryPath(_ reference: ModelReference) -> String {
        directory + "/" + reference.cacheFolderName
    }

    func snapshotPath(_ reference: ModelReference, commit: String) -> String {
        repositoryPath(reference) + "/snapshots/" + commit
    }

    /// The commit that `reference` stood for when it was last fetched; nil where it never was.
    package func commit(of reference: ModelReference) -> String? {
        let path = repositoryPath(reference)
        if let text = try? String(contentsOfFile: path + "/refs/" + reference.revision, encoding: .utf8) {
            let commit = text.trimmingCharacters(in: .whitespacesAndNewlines)
            if ModelFile.isSafe(commit), !commit.contains("/") { return commit }
        }
        // A commit given in full needs no ref. Nothing else is tried: a snapshot of another revision is another model.
        var isDirectory: ObjCBool = false
        guard !reference.revision.contains("/") else { return nil }
        let exists = FileManager.default.fileExists(atPath: path + "/snapshots/" + reference.revision, isDirectory: &isDirectory)
        return exists && isDirectory.boolValue ? reference.revision : nil
    }

    /// The cached snapshot of `reference`, whole or not; nil where there is none.
    package func snapshot(of reference: ModelReference) -> CachedSnapshot? {
        guard let commit = commit(of: reference) else { return nil }
        let path = snapshotPath(reference, commit: commit)
        guard let folder = try? ModelFolder(path: path, name: reference.repository) else { return nil }
        return CachedSnapshot(folder: folder, commit: commit, absenceMarks: repositoryPath(reference) + "/.no_exist/" + commit)
    }
}

/// One commit of a model in the cache.
package struct CachedSnapshot: Sendable {
    package let folder: ModelFolder
    package let commit: String
    /// The folder whose empty files stand for files that the hub does not have.
    let absenceMarks: String

    func isKnownAbsent(_ file: String) -> Bool {
        FileManager.default.fileExists(atPath: absenceMarks + "/" + file)
    }

    /// What `parts` cannot do without and the snapshot lacks.
    package func missingFiles(for parts: ModelParts) -> [String] {
        var missing: [String] = []
        if parts.contains(.configuration), !folder.contains(ModelFile.configuration) { missing.append(ModelFile.configuration) }
        if parts.contains(.tokenizer), !folder.contains(ModelFile.tokenizer), !isKnownAbsent(ModelFile.tokenizer) {
            missing.append(ModelFile.tokenizer)
        }
        if parts.contains(.weights) { missing += missingWeights() }
        return missing
    }

    /// True when the hub could add nothing: every file that may matter to `parts` is here or is known not to exist.
    ///
    /// A snapshot that another program fetched in part fails this, and a model whose pooling file was never fetched would otherwise give wrong vectors.
    package func isComplete(for parts: ModelParts) -> Bool {
        guard missingFiles(for: parts).isEmpty else { return false }
        let optional = HubFileSelection.optionalFiles(for: parts)
        guard optional.allSatisfy({ folder.contains($0) || isKnownAbsent($0) }) else { return false }
        guard parts.contains(.configuration), folder.contains(ModelFile.modules) else { return true }
        do {
            _ = try SentenceTransformersConfiguration(folder: folder)
            return true
        } catch {
            // A missing file can be fetched; what is broken or not supported will not get better by fetching.
            return error.code != .notFound
        }
    }

    private func missingWeights() -> [String] {
        if folder.contains(ModelFile.weights) { return [] }
        if folder.contains(ModelFile.weightsIndex) {
            guard let index = try? ConfigurationObject(reading: ModelFile.weightsIndex, of: folder),
                let shards = try? index.objectIfPresent("weight_map")
            else { return [] }
            let names = Set(shards.members.values.compactMap(\.stringValue))
            return names.filter { !folder.contains($0) }.sorted()
        }
        return folder.fileNames().contains { $0.hasSuffix(".safetensors") } ? [] : [ModelFile.weights]
    }
}
