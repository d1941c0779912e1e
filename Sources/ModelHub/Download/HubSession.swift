#if Hub
    import AsyncHTTPClient
    import Foundation
    import NIOCore
    import NIOHTTP1

    /// The HTTP of one download: requests with the token kept at home, redirects followed by rule, failures told apart.
    struct HubSession: Sendable {
        static let maximumRedirects = 10

        let connections: HubConnections
        let endpoint: HubAddress
        let token: String?
        let retry: RetryPolicy

        /// An answer, and the way to it.
        struct Answer: Sendable {
            let response: HTTPClientResponse
            let address: HubAddress
            /// Headers of the endpoint's own answers on the way, later ones last. What another host says of a file is not trusted.
            let endpointHeaders: [HTTPHeaders]

            func endpointHeader(_ name: String) -> String? {
                for headers in endpointHeaders.reversed() {
                    if let value = headers.first(name: name) { return value }
                }
                return nil
            }
        }

        /// A failure that another attempt may cure.
        struct Transient: Error {
            let error: ModelHubError
            var retryAfter: Duration?
        }

        /// Runs `body` with a client that is shut down when it returns.
        static func run<Result: Sendable>(
            settings: HubSettings, retry: RetryPolicy, _ body: @Sendable (HubSession) async throws -> Result
        ) async throws -> Result {
            guard let endpoint = HubAddress(settings.endpoint) else {
                throw ModelHubError(.invalidReference, "HF_ENDPOINT is '\(settings.endpoint)': expected an http or https address")
            }
            if let token = settings.token, token.unicodeScalars.contains(where: { $0.value <= 0x20 || $0.value >= 0x7F }) {
                throw ModelHubError(
                    .unauthorized, "the Hugging Face token has characters that no token has; check HF_TOKEN or the token file")
            }
            let connections = HubConnections(try ProxySettings(environment: settings.proxyEnvironment), retry: retry)
            do {
                let result = try await body(HubSession(connections: connections, endpoint: endpoint, token: settings.token, retry: retry))
                await connections.shutDown()
                return result
            } catch {
                await connections.shutDown()
                throw error
            }
        }

        /// Sends one request and follows its redirects. With `stopsAtForeignHost` a redirect away from the endpoint is itself the answer, once it carries the
        /// file's hash. Throws ``Transient`` where another attempt may help.
        func send(
            _ method: HTTPMethod, _ start: HubAddress, headers: [(String, String)] = [], stopsAtForeignHost: Bool = false
        ) async throws -> Answer {
            var address = start
            var visited: Set<HubAddress> = []
            var endpointHeaders: [HTTPHeaders] = []
            while true {
                guard visited.insert(address).inserted, visited.count <= Self.maximumRedirects + 1 else {
                    throw ModelHubError(.redirect, "\(start.display): redirected in a circle, or more than \(Self.maximumRedirects) times")
                }
                let response = try await sendOnce(method, address, headers)
                let isHome = address.origin == endpoint.origin
                if isHome { endpointHeaders.append(response.headers) }
                let answer = Answer(response: response, address: address, endpointHeaders: endpointHeaders)
                guard [301, 302, 303, 307, 308].contains(response.status.code) else { return answer }
                guard let location = response.headers.first(name: "Location"), let next = address.following(location) else {
                    throw ModelHubError(.redirect, "\(address.display): redirected (\(response.status.code)) to no usable address")
                }
                guard address.mayRedirect(to: next) else {
                    throw ModelHubError(
                        .redirect, "\(address.display): refused the redirect from https to plain http at \(next.origin.host)")
                }
                if stopsAtForeignHost, next.origin != endpoint.origin, answer.endpointHeader("X-Linked-Etag") != nil { return answer }
                address = next
            }
        }

        private func sendOnce(_ method: HTTPMethod, _ address: HubAddress, _ headers: [(String, String)]) async throws -> HTTPClientResponse {
            var request = HTTPClientRequest(url: address.text)
            request.method = method
            request.headers.add(name: "User-Agent", value: "apus")
            // The size and the hash are those of the file itself.
            request.headers.add(name: "Accept-Encoding", value: "identity")
            for (name, value) in headers { request.headers.add(name: name, value: value) }
            if let token, address.origin == endpoint.origin { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
            do {
                return try await connections.client(to: address.origin).execute(request, deadline: .distantFuture)
            } catch {
                throw Self.failure(error, address)
            }
        }

        /// What a broken request or body means: cancelled, or a connection that may work next time.
        static func failure(_ error: any Error, _ address: HubAddress) -> any Error {
            if error is CancellationError || Task.isCancelled { return CancellationError() }
            if error is ModelHubError || error is Transient { return error }
            let detail: String
            switch error as? HTTPClientError {
            case .readTimeout: detail = "no byte arrived for a while"
            case .connectTimeout, .tlsHandshakeTimeout: detail = "it does not answer"
            case .remoteConnectionClosed: detail = "the connection was closed half-way"
            case .proxyAuthenticationRequired: detail = "the proxy wants a user name and a password (HTTPS_PROXY=http://user:password@host:port)"
            default: detail = "\(error)"
            }
            return Transient(
                error: ModelHubError(.network, "\(address.origin.host): \(detail); is the network there, and HF_ENDPOINT right?"))
        }

        /// Repeats `body` while it throws ``Transient``, with growing waits.
        func retrying<Result: Sendable>(_ body: () async throws -> Result) async throws -> Result {
            var attempt = 1
            while true {
                do {
                    return try await body()
                } catch let transient as Transient {
                    guard attempt < retry.attempts else { throw transient.error }
                    try await Task.sleep(for: retry.delay(before: attempt, serverAsks: transient.retryAfter))
                    attempt += 1
                }
            }
        }

        /// The whole body, of at most `limit` bytes.
        func collect(_ answer: Answer, limit: Int, what: String) async throws -> [UInt8] {
            var bytes: [UInt8] = []
            do {
                for try await chunk in answer.response.body {
                    guard bytes.count + chunk.readableBytes <= limit else {
                        throw ModelHubError(.server, "\(answer.address.display): \(what) is larger than \(limit) bytes")
                    }
                    bytes.append(contentsOf: chunk.readableBytesView)
                }
            } catch {
                throw Self.failure(error, answer.address)
            }
            return bytes
        }
    }
#endif
