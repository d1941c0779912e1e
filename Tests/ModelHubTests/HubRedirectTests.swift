#if Hub
    import ModelHub
    import NIOHTTP1
    import OrderedCollections
    import Testing

    /// Where the token goes, and where it must not.
    @Suite struct HubRedirectTests {
        @Test func theTokenDoesNotFollowToAnotherHost() async throws {
            let storage = try await FakeHub(files: HubTestCase.files)
            let test = try await HubTestCase(storage: storage)
            #expect(try await test.open().bytes(of: "model.safetensors") == HubTestCase.weights)
            #expect(storage.requests.count == 1 && storage.requests.allSatisfy { $0.authorization == nil })
            #expect(test.hub.requests.allSatisfy { $0.authorization == "Bearer hf_secret" })
        }

        @Test func anotherNameOfTheSameServerIsAnotherHost() async throws {
            let port = Collector<Int>()
            let test = try await HubTestCase { request, _, usual in
                guard request.path.hasSuffix("/tokenizer.json"), request.headers.first(name: "Host")?.hasPrefix("127.0.0.1") == true else {
                    return usual
                }
                return .status(302, [("Location", "http://localhost:\(port.all.first ?? 0)\(request.path)")])
            }
            port.append(test.hub.port)
            _ = try await test.open()
            let foreign = test.hub.requests.filter { $0.headers.first(name: "Host")?.hasPrefix("localhost") == true }
            #expect(!foreign.isEmpty && foreign.allSatisfy { $0.authorization == nil })
        }

        @Test func aRedirectedListKeepsTheTokenAtHome() async throws {
            let other = try await FakeHub(files: HubTestCase.files)
            let target = other.endpoint
            let test = try await HubTestCase { request, _, usual in
                request.path.hasPrefix("/api/") ? .status(307, [("Location", target + request.path)]) : usual
            }
            _ = try await test.open()
            #expect(other.requests.count == 1 && other.requests[0].authorization == nil)
        }

        @Test func aRelativeRedirectIsFollowedWithTheToken() async throws {
            let test = try await HubTestCase { request, _, usual in
                guard request.path.hasSuffix("/config.json"), request.path.hasPrefix("/tiny") else { return usual }
                return .status(307, [("Location", "/renamed" + request.path), ("X-Repo-Commit", FakeHub.commit)])
            }
            // The new place is unknown to the hub, which shows that it was asked there.
            let error = try await test.failure()
            #expect(error.code == .notFound, "\(error)")
            let moved = test.hub.requests.filter { $0.path.hasPrefix("/renamed/tiny/") }
            #expect(!moved.isEmpty && moved.allSatisfy { $0.authorization == "Bearer hf_secret" })
        }

        @Test func aCircleEnds() async throws {
            let test = try await HubTestCase { request, _, _ in .status(302, [("Location", request.path)]) }
            #expect(try await test.failure().code == .redirect)
            #expect(test.hub.requests.count == 1)
            let endless = try await HubTestCase { request, _, _ in .status(302, [("Location", request.path + "x")]) }
            #expect(try await endless.failure().code == .redirect)
            #expect(endless.hub.requests.count == 11)
        }

        @Test(arguments: ["", "ftp://127.0.0.1/x", "file:///etc/passwd", "http://", "javascript:x"])
        func aRedirectToNowhereIsRefused(location: String) async throws {
            let test = try await HubTestCase { _, _, _ in .status(302, [("Location", location)]) }
            #expect(try await test.failure().code == .redirect)
            let none = try await HubTestCase { _, _, _ in .status(302) }
            #expect(try await none.failure().code == .redirect)
        }

        @Test func anAddressThatHasRunOutIsRenewed() async throws {
            let storage = try await FakeHub(files: HubTestCase.files) { _, count, usual in count == 1 ? .status(403) : usual }
            let test = try await HubTestCase(storage: storage)
            #expect(try await test.open().bytes(of: "model.safetensors") == HubTestCase.weights)
            #expect(test.hub.requests("GET", endingWith: "model.safetensors").count == 2)
        }

        @Test func anotherHostDoesNotSpeakForTheHub() async throws {
            let other = try await FakeHub(files: HubTestCase.files) { _, _, usual in
                var answer = usual
                answer.headers = [("ETag", "\"plain\""), ("X-Linked-Etag", "\"other\""), ("X-Linked-Size", "1"), ("X-Repo-Commit", "other")]
                return answer
            }
            let target = other.endpoint + "/storage/config.json"
            let test = try await HubTestCase { request, _, usual in
                request.path.hasSuffix("/config.json") && !request.path.contains("1_Pooling") ? .status(302, [("Location", target)]) : usual
            }
            _ = try await test.open()
            #expect(test.size(test.repositoryPath + "/blobs/plain") == HubTestCase.files["config.json"]?.count)
        }

        @Test func whatTheStorageSaysOfTheHashDoesNotCount() async throws {
            let storage = try await FakeHub(files: HubTestCase.files) { _, _, usual in
                var answer = usual
                answer.headers = [("X-Linked-Etag", "\"other\""), ("X-Repo-Commit", "other")]
                answer.body = [UInt8](repeating: 0, count: 50_000)
                return answer
            }
            let error = try await HubTestCase(storage: storage).failure()
            #expect(error.code == .integrity && !error.message.contains("secret"), "\(error)")
        }
    }
#endif
