import Foundation
import JSON
import ModelHub
import OrderedCollections
import Testing

/// Reading what huggingface_hub has written; the tree is in Goldens/hub-cache.json.
@Suite struct HubCacheTests {
    private func pythonCache(leavingOut: (String) -> Bool = { _ in false }) throws -> (TemporaryFolder, JSONValue) {
        let golden = try Goldens.json("hub-cache")
        let temporary = try TemporaryFolder()
        for entry in try #require(golden["tree"]?.arrayValue) {
            let path = try #require(entry["path"]?.stringValue)
            guard !leavingOut(path) else { continue }
            if let target = entry["link"]?.stringValue {
                try temporary.link("hub/" + path, to: target)
            } else {
                try temporary.write(Goldens.bytes(hex: try #require(entry["hex"]?.stringValue)), to: "hub/" + path)
            }
        }
        return (temporary, golden)
    }

    private func environment(_ temporary: TemporaryFolder, _ more: [String: String] = [:]) -> [String: String] {
        // Nothing listens on port 9 of the loopback: whoever asks the hub fails at once.
        ["HF_HOME": temporary.path, "HF_ENDPOINT": "http://127.0.0.1:9"].merging(more) { _, new in new }
    }

    private var impatient: RetryPolicy {
        var retry = RetryPolicy()
        retry.attempts = 1
        return retry
    }

    @Test func opensWhatPythonFetchedWithoutTheNetwork() async throws {
        let (temporary, golden) = try pythonCache()
        let commit = try #require(golden["commit"]?.stringValue)
        for name in ["tiny/embedder", "tiny/embedder@main", "tiny/embedder@\(commit)"] {
            for policy in [DownloadPolicy.ifMissing, .never] {
                let folder = try await ModelFolder.open(name, download: policy, environment: environment(temporary))
                #expect(folder.name == "tiny/embedder")
                for file in try #require(golden["files"]?.arrayValue) {
                    let bytes = try folder.bytes(of: try #require(file["name"]?.stringValue))
                    #expect(bytes == Goldens.bytes(hex: try #require(file["hex"]?.stringValue)))
                }
                #expect(try SentenceTransformersConfiguration(folder: folder)?.pooling == .lastToken)
            }
        }
    }

    @Test func listsAsScanCacheDirDoes() throws {
        let (temporary, golden) = try pythonCache()
        try temporary.write("x", to: "hub/models--tiny--embedder/blobs/abc.incomplete")
        try temporary.write("x", to: "hub/datasets--tiny--set/snapshots/0/data")
        try temporary.write("x", to: "hub/models--broken/nothing")
        let scan = try #require(golden["scan"])
        let models = HubCache(directory: temporary.path + "/hub").list()
        let model = try #require(models.first)
        #expect(models.count == 1 && model.repository == "tiny/embedder")
        #expect(model.byteCount == scan["byteCount"]?.integerValue && model.incompleteByteCount == 1)
        let revision = try #require(model.revisions.first)
        #expect(model.revisions.count == 1 && revision.commit == golden["commit"]?.stringValue)
        #expect(revision.refs == scan["refs"]?.arrayValue?.compactMap(\.stringValue))
        #expect(revision.fileCount == scan["fileCount"]?.integerValue && revision.byteCount == scan["revisionByteCount"]?.integerValue)
        #expect(abs(model.lastUsed.timeIntervalSinceNow) < 600 && abs(revision.lastModified.timeIntervalSinceNow) < 600)
        #expect(HubCache(directory: temporary.path + "/nowhere").list().isEmpty)
    }

    @Test func anotherRevisionIsAnotherModel() async throws {
        let (temporary, _) = try pythonCache()
        let error = try await #require(throws: ModelHubError.self) {
            try await ModelFolder.open("tiny/embedder@v2", download: .never, environment: environment(temporary))
        }
        #expect(error.code == .notFound && error.message.contains("'tiny/embedder@v2'"))
    }

    @Test func namesWhatIsMissing() async throws {
        let (temporary, _) = try pythonCache { $0.hasSuffix("model.safetensors") }
        let offline = environment(temporary, ["HF_HUB_OFFLINE": "1"])
        let error = try await #require(throws: ModelHubError.self) { try await ModelFolder.open("tiny/embedder", environment: offline) }
        #expect(error.code == .offline && error.message.contains("model.safetensors missing") && error.message.contains("HF_HUB_OFFLINE"), "\(error)")
        // Without need of the weights it is whole.
        _ = try await ModelFolder.open("tiny/embedder", parts: [.configuration, .tokenizer], environment: offline)
    }

    @Test func asksForFilesThatNobodyLookedFor() async throws {
        let (temporary, _) = try pythonCache { $0.contains("modules.json") || $0.contains("1_Pooling") }
        let snapshot = HubCache(directory: temporary.path + "/hub").snapshot(of: try ModelReference(repository: "tiny/embedder"))
        #expect(snapshot?.missingFiles(for: .all) == [] && snapshot?.isComplete(for: .all) == false && snapshot?.isComplete(for: .tokenizer) == true)
        // With the hub out of reach it is used as it is.
        _ = try await ModelFolder.open("tiny/embedder", environment: environment(temporary), retry: impatient)
    }

    @Test func aShardThatIsMissingIsNamed() throws {
        let temporary = try TemporaryFolder()
        let snapshot = "hub/models--a--b/snapshots/c0ffee/"
        try temporary.write("c0ffee", to: "hub/models--a--b/refs/main")
        try temporary.write("{}", to: snapshot + "config.json")
        try temporary.write("", to: snapshot + "model-00001-of-00002.safetensors")
        try temporary.write(
            #"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors", "c": "../../x"}}"#,
            to: snapshot + "model.safetensors.index.json")
        let found = HubCache(directory: temporary.path + "/hub").snapshot(of: try ModelReference(repository: "a/b"))
        #expect(found?.missingFiles(for: [.configuration, .weights]) == ["../../x", "model-00002-of-00002.safetensors"])
    }

    @Test func aHostileRefIsNotFollowed() throws {
        let temporary = try TemporaryFolder()
        try temporary.write("../../../secret", to: "hub/models--a--b/refs/main")
        try temporary.write("{}", to: "secret/config.json")
        #expect(HubCache(directory: temporary.path + "/hub").snapshot(of: try ModelReference(repository: "a/b")) == nil)
    }
}
