#if Hub
    import ModelHub
    import NIOHTTP1
    import Testing

    /// The way to a proxy; the fake hub plays one that asks for more.
    @Suite struct HubProxyTests {
        @Test func theProxyIsAskedAndDoesNotSeeTheToken() async throws {
            let test = try await HubTestCase { request, _, usual in request.method == "CONNECT" ? .status(407) : usual }
            let proxy = "http://me:secret@127.0.0.1:\(test.hub.port)"
            let error = try await test.failure(environment: ["HF_ENDPOINT": "http://hub.invalid", "http_proxy": proxy])
            #expect(error.code == .network && error.description.contains("the proxy wants a user name"), "\(error)")
            let requests = test.hub.requests
            #expect(!requests.isEmpty && requests.allSatisfy { $0.method == "CONNECT" && $0.path == "hub.invalid:80" })
            #expect(requests.allSatisfy { $0.headers.first(name: "Proxy-Authorization") == "Basic bWU6c2VjcmV0" && $0.authorization == nil })
        }

        @Test func anExceptionIsReachedDirectly() async throws {
            let test = try await HubTestCase()
            let environment = ["http_proxy": "http://127.0.0.1:9", "no_proxy": "127.0.0.1"]
            #expect(try await test.open(environment: environment).bytes(of: "model.safetensors") == HubTestCase.weights)
        }

        @Test func aProxyThatIsNotThereIsSaid() async throws {
            let test = try await HubTestCase()
            #expect(try await test.failure(environment: ["http_proxy": "http://127.0.0.1:9"]).code == .network)
            #expect(try await test.failure(environment: ["http_proxy": "gopher://x"]).code == .invalidReference)
            #expect(test.hub.requests.isEmpty)
        }
    }
#endif
