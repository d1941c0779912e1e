#if Hub
    import AsyncHTTPClient
    import Foundation
    import NIOCore

    /// The HTTP clients of one download: one for what is reached directly, and one for each proxy, since a client has one way out.
    struct HubConnections: Sendable {
        private let settings: ProxySettings
        private let direct: HTTPClient
        private let proxied: [ProxySettings.Proxy: HTTPClient]

        init(_ settings: ProxySettings, retry: RetryPolicy) {
            self.settings = settings
            direct = Self.client(nil, retry)
            var proxied: [ProxySettings.Proxy: HTTPClient] = [:]
            for proxy in settings.proxies { proxied[proxy] = Self.client(proxy, retry) }
            self.proxied = proxied
        }

        /// The client that leads to an address.
        func client(to origin: HubAddress.Origin) -> HTTPClient {
            guard let proxy = settings.proxy(scheme: origin.scheme, host: origin.host, port: origin.port) else { return direct }
            return proxied[proxy] ?? direct
        }

        func shutDown() async {
            for client in [direct] + proxied.values { try? await client.shutdown() }
        }

        private static func client(_ proxy: ProxySettings.Proxy?, _ retry: RetryPolicy) -> HTTPClient {
            var configuration = HTTPClient.Configuration()
            configuration.redirectConfiguration = .disallow
            configuration.decompression = .disabled
            configuration.timeout = HTTPClient.Configuration.Timeout(connect: amount(retry.connectTimeout), read: amount(retry.stallTimeout))
            // Attempts and waits are counted by the session, not twice.
            configuration.connectionPool.retryConnectionEstablishment = false
            configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 8
            configuration.proxy = proxy.map { proxy in
                switch proxy.kind {
                case .socks5: return .socksServer(host: proxy.host, port: proxy.port)
                case .http:
                    guard let credentials = proxy.credentials else { return .server(host: proxy.host, port: proxy.port) }
                    let encoded = Data(credentials.utf8).base64EncodedString()
                    return .server(host: proxy.host, port: proxy.port, authorization: .basic(credentials: encoded))
                }
            }
            return HTTPClient(eventLoopGroup: HTTPClient.defaultEventLoopGroup, configuration: configuration)
        }

        private static func amount(_ duration: Duration) -> TimeAmount {
            .nanoseconds(duration.components.seconds * 1_000_000_000 + duration.components.attoseconds / 1_000_000_000)
        }
    }
#endif
