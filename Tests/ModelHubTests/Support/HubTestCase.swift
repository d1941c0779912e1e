#if Hub
    import Foundation
    import ModelHub
    import OrderedCollections
    import Synchronization

    /// A cache folder of the test's own, and a hub to fill it from.
    struct HubTestCase {
        let temporary: TemporaryFolder
        let hub: FakeHub

        static let weights: [UInt8] = (0..<50_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }

        /// A small model, with files beside it that nobody needs.
        static let files: OrderedDictionary<String, [UInt8]> = [
            "README.md": Array("# tiny".utf8),
            "config.json": Array(#"{"model_type": "gemma3_text", "num_hidden_layers": 2}"#.utf8),
            "model.safetensors": weights,
            "pytorch_model.bin": [1, 2, 3],
            "onnx/model.onnx": [4, 5, 6],
            "modules.json": Array(
                #"[{"path": "", "type": "x.Transformer"}, {"path": "1_Pooling", "type": "x.Pooling"}]"#.utf8),
            "1_Pooling/config.json": Array(#"{"pooling_mode": "lasttoken"}"#.utf8),
            "tokenizer.json": Array(#"{"version": "1.0"}"#.utf8),
            "chat_template.jinja": Array("{{ messages }}".utf8),
            "empty.json": [],
            "tokenizer_config.json": Array("{}".utf8),
        ]

        static let neededFiles = [
            "1_Pooling/config.json", "chat_template.jinja", "config.json", "model.safetensors", "modules.json", "tokenizer.json",
            "tokenizer_config.json",
        ]

        init(
            files: OrderedDictionary<String, [UInt8]> = HubTestCase.files, large: Set<String> = ["model.safetensors"],
            storage: FakeHub? = nil, fault: FakeHub.Fault? = nil
        ) async throws {
            temporary = try TemporaryFolder()
            hub = try await FakeHub(files: files, large: large, storage: storage, fault: fault)
        }

        var environment: [String: String] {
            ["HF_HOME": temporary.path, "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": "hf_secret"]
        }

        var retry: RetryPolicy {
            var retry = RetryPolicy()
            retry.attempts = 3
            retry.firstDelay = .milliseconds(2)
            retry.longestDelay = .milliseconds(50)
            // Long enough for a busy machine; the tests of stalls set their own.
            retry.stallTimeout = .seconds(20)
            return retry
        }

        func open(
            _ reference: String = "tiny/embedder", parts: ModelParts = .all, download: DownloadPolicy = .ifMissing,
            environment changes: [String: String] = [:], stallTimeout: Duration? = nil, progress: (@Sendable (DownloadProgress) -> Void)? = nil
        ) async throws -> ModelFolder {
            var retry = retry
            if let stallTimeout { retry.stallTimeout = stallTimeout }
            return try await ModelFolder.open(
                reference, parts: parts, download: download, environment: environment.merging(changes) { _, new in new }, retry: retry,
                progress: progress)
        }

        /// The error that opening gives.
        func failure(_ reference: String = "tiny/embedder", environment: [String: String] = [:]) async throws -> ModelHubError {
            do {
                _ = try await open(reference, environment: environment)
            } catch let error as ModelHubError {
                return error
            }
            throw NoFailure()
        }

        struct NoFailure: Error {}

        var repositoryPath: String { temporary.path + "/hub/models--tiny--embedder" }
        var weightsBlob: String { repositoryPath + "/blobs/" + FakeHub.etag(Self.weights, isLarge: true) }

        func size(_ path: String) -> Int? {
            ((try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? NSNumber)?.intValue
        }

        /// Puts the first `count` bytes of the weights, or `bytes`, where a broken-off download leaves them.
        func leaveIncomplete(_ count: Int, of bytes: [UInt8] = HubTestCase.weights) throws {
            try FileManager.default.createDirectory(atPath: repositoryPath + "/blobs", withIntermediateDirectories: true)
            try Data(bytes.prefix(count)).write(to: URL(fileURLWithPath: weightsBlob + ".incomplete"))
        }

        /// Everything under the cache but locks, as `path -> link target or hex`.
        func tree() -> [String: String] {
            let root = temporary.path + "/hub"
            var tree: [String: String] = [:]
            for path in (try? FileManager.default.subpathsOfDirectory(atPath: root)) ?? [] where !path.hasPrefix(".locks") && path != "CACHEDIR.TAG" {
                if let target = try? FileManager.default.destinationOfSymbolicLink(atPath: root + "/" + path) {
                    tree[path] = "-> " + target
                } else if let data = FileManager.default.contents(atPath: root + "/" + path) {
                    tree[path] = data.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
                }
            }
            return tree
        }
    }

    /// Collects what callbacks from several tasks say.
    final class Collector<Element: Sendable>: Sendable {
        private let elements = Mutex<[Element]>([])

        func append(_ element: Element) { elements.withLock { $0.append(element) } }
        var all: [Element] { elements.withLock { $0 } }
    }
#endif
