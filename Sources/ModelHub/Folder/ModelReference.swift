/// A model on the hub: `owner/name[@revision]`, or a bare `name` for the few that have no owner.
package struct ModelReference: Sendable, Hashable {
    package static let defaultRevision = "main"

    /// `owner/name`, or `name`.
    package let repository: String
    /// A branch, a tag or a commit.
    package let revision: String

    package init(repository: String, revision: String = ModelReference.defaultRevision) throws(ModelHubError) {
        guard Self.isRepository(repository) else {
            throw ModelHubError(
                .invalidReference,
                "'\(repository)' is no hub name: it must be owner/name in letters, digits, '-', '_' and '.', with no '--' or '..'")
        }
        guard Self.isRevision(revision) else {
            throw ModelHubError(.invalidReference, "'\(revision)' is no revision: expected a branch, a tag or a commit")
        }
        self.repository = repository
        self.revision = revision
    }

    /// Reads `owner/name[@revision]`; nil where the text can only be a path or nonsense.
    package init?(parsing text: String) {
        let parts = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        guard let repository = parts.first.map(String.init), Self.isRepository(repository) else { return nil }
        let revision = parts.count == 2 ? String(parts[1]) : Self.defaultRevision
        guard Self.isRevision(revision) else { return nil }
        self.repository = repository
        self.revision = revision
    }

    package var hasOwner: Bool { repository.contains("/") }

    /// True for a full commit hash, which never moves.
    package var isCommit: Bool { Self.isCommit(revision) }

    /// `models--owner--name`, the folder in the cache.
    package var cacheFolderName: String {
        "models--" + repository.split(separator: "/").joined(separator: "--")
    }

    static func isCommit(_ text: String) -> Bool {
        text.utf8.count == 40 && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    private static func isRepository(_ text: String) -> Bool {
        let components = text.split(separator: "/", omittingEmptySubsequences: false)
        guard (1...2).contains(components.count), !text.contains("--"), !text.contains(".."), !text.hasSuffix(".git") else { return false }
        return components.allSatisfy { component in
            guard let first = component.utf8.first, let last = component.utf8.last, component.utf8.count <= 96 else { return false }
            return isWord(first) && isWord(last)
                && component.utf8.allSatisfy { isWord($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") }
        }
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte) || byte == UInt8(ascii: "_")
    }

    /// What git allows in a ref's name, in so far as it matters for a path and a URL.
    private static func isRevision(_ text: String) -> Bool {
        ModelFile.isSafe(text) && text.utf8.count <= 255 && !text.contains("..")
            && !text.utf8.contains { $0 == 0x20 || "~^:?*[\\@".utf8.contains($0) }
    }
}
