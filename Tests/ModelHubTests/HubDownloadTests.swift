#if Hub
    import Foundation
    import JSON
    import ModelHub
    import NIOCore
    import OrderedCollections
    import Testing

    @Suite struct HubDownloadTests {
        @Test func fetchesWhatIsNeededAndChecksIt() async throws {
            let test = try await HubTestCase()
            let seen = Collector<DownloadProgress>()
            let folder = try await test.open { seen.append($0) }
            #expect(try folder.bytes(of: "model.safetensors") == HubTestCase.weights)
            #expect(try folder.bytes(of: "1_Pooling/config.json") == HubTestCase.files["1_Pooling/config.json"])
            let fetched = Set(
                test.hub.requests.filter { $0.method == "GET" && $0.path.contains("/resolve/") }.map { $0.path.split(separator: "/").last })
            #expect(fetched.count == 6 && !fetched.contains("README.md") && !fetched.contains("pytorch_model.bin"))
            // Every request went to the endpoint, so each carried the token.
            #expect(test.hub.requests.allSatisfy { $0.authorization == "Bearer hf_secret" })
            let total = HubTestCase.neededFiles.reduce(0) { $0 + (HubTestCase.files[$1]?.count ?? 0) }
            let last = try #require(seen.all.last)
            #expect(last.completedByteCount == total && last.totalByteCount == total)
            #expect(last.completedFileCount == 7 && last.fileCount == 7)
            #expect(zip(seen.all, seen.all.dropFirst()).allSatisfy { $0.completedFileCount <= $1.completedFileCount })
        }

        @Test func asksTheHubOnlyOnce() async throws {
            let test = try await HubTestCase()
            _ = try await test.open()
            let count = test.hub.requests.count
            _ = try await test.open()
            _ = try await test.open("tiny/embedder@" + FakeHub.commit, download: .update)
            #expect(test.hub.requests.count == count)
            // To see whether the branch has moved takes one request.
            _ = try await test.open(download: .update)
            #expect(test.hub.requests.count == count + 1)
        }

        @Test func leavesTheCacheAsPythonDoes() async throws {
            let golden = try Goldens.json("hub-cache")
            var files: OrderedDictionary<String, [UInt8]> = [:]
            for file in try #require(golden["files"]?.arrayValue) {
                files[try #require(file["name"]?.stringValue)] = Goldens.bytes(hex: try #require(file["hex"]?.stringValue))
            }
            let test = try await HubTestCase(files: files)
            _ = try await test.open()
            var expected: [String: String] = [:]
            for entry in try #require(golden["tree"]?.arrayValue) {
                let path = try #require(entry["path"]?.stringValue)
                expected[path] = entry["link"]?.stringValue.map { "-> " + $0 } ?? entry["hex"]?.stringValue
            }
            #expect(test.tree() == expected)
            #expect(test.tree().count == 16)
        }

        @Test func fetchesOnlyTheTokenizerForTokenizing() async throws {
            let test = try await HubTestCase()
            let folder = try await test.open(parts: .tokenizer)
            #expect(folder.contains("tokenizer.json") && folder.contains("chat_template.jinja") && !folder.contains("model.safetensors"))
            // The rest comes when it is asked for.
            #expect(try await test.open().contains("model.safetensors"))
            #expect(test.hub.requests("GET", endingWith: "/tokenizer.json").count == 1)
        }

        @Test func fetchesShardsByTheirIndex() async throws {
            var files = HubTestCase.files
            files["model.safetensors"] = nil
            files["model.safetensors.index.json"] = Array(
                #"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#.utf8)
            files["model-00001-of-00002.safetensors"] = [1, 2]
            files["model-00002-of-00002.safetensors"] = [3]
            files["consolidated.safetensors"] = [1, 2, 3]
            let test = try await HubTestCase(files: files, large: ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"])
            let folder = try await test.open()
            #expect(try folder.bytes(of: "model-00002-of-00002.safetensors") == [3])
            #expect(!folder.contains("consolidated.safetensors"))
            let count = test.hub.requests.count
            _ = try await test.open()
            #expect(test.hub.requests.count == count)
        }

        @Test func anEmptyFileIsAFile() async throws {
            var files = HubTestCase.files
            files["tokenizer_config.json"] = []
            let test = try await HubTestCase(files: files)
            #expect(try await test.open().bytes(of: "tokenizer_config.json") == [])
        }

        @Test func twoFilesOfOneContentShareABlob() async throws {
            var files = HubTestCase.files
            files["tokenizer_config.json"] = files["tokenizer.json"]
            let test = try await HubTestCase(files: files)
            let folder = try await test.open()
            #expect(try folder.bytes(of: "tokenizer_config.json") == folder.bytes(of: "tokenizer.json"))
        }

        @Test func aBranchThatMovesIsFollowedOnUpdate() async throws {
            let test = try await HubTestCase()
            _ = try await test.open()
            let moved = try await FakeHub(
                files: HubTestCase.files.merging(["config.json": Array(#"{"model_type": "qwen3"}"#.utf8)]) { _, new in new },
                commit: "fedcba9876543210fedcba9876543210fedcba98")
            #expect(try ModelConfiguration(folder: await test.open(environment: ["HF_ENDPOINT": moved.endpoint])).modelType == "gemma3_text")
            let updated = try await test.open(download: .update, environment: ["HF_ENDPOINT": moved.endpoint])
            #expect(try ModelConfiguration(folder: updated).modelType == "qwen3")
            // The weights are the same blob and do not travel again.
            #expect(moved.requests("GET", endingWith: "model.safetensors").isEmpty)
            let models = HubCache(directory: test.temporary.path + "/hub").list()
            #expect(models.first?.revisions.count == 2 && models.first?.revisions.flatMap(\.refs) == ["main"])
            // The old commit can still be asked for by name.
            #expect(try ModelConfiguration(folder: await test.open("tiny/embedder@" + FakeHub.commit)).modelType == "gemma3_text")
        }

        @Test func offlineModeSendsNothing() async throws {
            let test = try await HubTestCase()
            let error = try await test.failure(environment: ["HF_HUB_OFFLINE": "1"])
            #expect(error.code == .offline && test.hub.requests.isEmpty)
            _ = try await test.open()
            #expect(try await test.open(environment: ["HF_HUB_OFFLINE": "1"]).contains("model.safetensors"))
        }

        @Test func aHubOutOfReachIsNamed() async throws {
            let test = try await HubTestCase()
            let error = try await test.failure(environment: ["HF_ENDPOINT": "http://127.0.0.1:9"])
            #expect(error.code == .network && error.message.contains("127.0.0.1"), "\(error)")
            for endpoint in ["ftp://x", "nonsense", "http://"] {
                #expect(try await test.failure(environment: ["HF_ENDPOINT": endpoint]).message.contains("HF_ENDPOINT"), "\(endpoint)")
            }
            #expect(try await test.failure(environment: ["HF_TOKEN": "a b"]).code == .unauthorized)
        }

        @Test func aModelWithoutUsableWeightsIsRefusedBeforeItTravels() async throws {
            var files = HubTestCase.files
            files["model.safetensors"] = nil
            let test = try await HubTestCase(files: files)
            let error = try await test.failure()
            #expect(error.code == .unsupported && error.message.contains("pytorch_model.bin"), "\(error)")
            #expect(test.hub.requests.count == 1)
            files["config.json"] = nil
            #expect(try await HubTestCase(files: files).failure().message.contains("no config.json"))
        }

        @Test func manyAtOnceEndRight() async throws {
            let test = try await HubTestCase { _, _, usual in
                var answer = usual
                answer.delay = .milliseconds(20)
                return answer
            }
            try await withThrowingTaskGroup(of: [UInt8].self) { group in
                for _ in 0..<4 { group.addTask { try await test.open().bytes(of: "model.safetensors") } }
                for try await bytes in group { #expect(bytes == HubTestCase.weights) }
            }
            #expect(test.hub.requests("GET", endingWith: "model.safetensors").count == 1)
            #expect(test.tree().keys.allSatisfy { !$0.hasSuffix(".incomplete") })
        }

        @Test func cancellingKeepsWhatHasArrived() async throws {
            let test = try await HubTestCase { request, count, usual in
                var answer = usual
                if request.method == "GET", request.path.hasSuffix("model.safetensors"), count == 1 { answer.stallsAfter = 20_000 }
                return answer
            }
            let blob = test.weightsBlob + ".incomplete"
            var retry = test.retry
            retry.stallTimeout = .seconds(60)
            let patient = retry
            let environment = test.environment
            let task = Task { try await ModelFolder.open("tiny/embedder", environment: environment, retry: patient) }
            while test.size(blob) ?? 0 < 20_000 { try await Task.sleep(for: .milliseconds(5)) }
            task.cancel()
            let error = try await #require(throws: ModelHubError.self) { try await task.value }
            #expect(error.code == .cancelled && test.size(blob) == 20_000)
            #expect(test.tree().keys.allSatisfy { !$0.contains("/refs/") })
            #expect(try await test.open().bytes(of: "model.safetensors") == HubTestCase.weights)
            #expect(test.hub.requests("GET", endingWith: "model.safetensors").compactMap(\.rangeStart) == [20_000])
        }

        @Test func anUnwritableCacheIsNamed() async throws {
            let test = try await HubTestCase()
            let file = try test.temporary.write("", to: "file")
            let error = try await test.failure(environment: ["HF_HUB_CACHE": file + "/hub"])
            #expect(error.code == .cache && error.message.contains(file) && error.message.contains("HF_HUB_CACHE"), "\(error)")
        }
    }
#endif
