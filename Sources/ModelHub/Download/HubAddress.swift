#if Hub
    import Foundation

    /// An http or https address, and the origin that decides whether the token may go there.
    struct HubAddress: Sendable, Hashable {
        struct Origin: Sendable, Hashable {
            let scheme: String
            let host: String
            let port: Int
        }

        let url: URL
        let origin: Origin

        /// Nil for anything but an absolute http or https address with a host.
        init?(_ url: URL) {
            let url = url.absoluteURL
            guard let scheme = url.scheme?.lowercased(), scheme == "http" || scheme == "https", let host = url.host?.lowercased(),
                !host.isEmpty
            else {
                return nil
            }
            self.url = url
            origin = Origin(scheme: scheme, host: host, port: url.port ?? (scheme == "https" ? 443 : 80))
        }

        init?(_ text: String) {
            guard let url = URL(string: text) else { return nil }
            self.init(url)
        }

        /// Where a `Location` header leads from here.
        func following(_ location: String) -> HubAddress? {
            guard let url = URL(string: location, relativeTo: url) else { return nil }
            return HubAddress(url)
        }

        /// What was asked for over TLS does not go on in the open.
        func mayRedirect(to next: HubAddress) -> Bool { next.origin.scheme == "https" || origin.scheme == "http" }

        var text: String { url.absoluteString }

        /// The address without what may be a secret in its query, for messages.
        var display: String { String(text.prefix { $0 != "?" && $0 != "#" }) }

        /// `text` as one component of a path, or with `/` kept where `keepingSlashes`.
        static func encode(_ text: String, keepingSlashes: Bool = false) -> String {
            var allowed = CharacterSet(charactersIn: "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")
            if keepingSlashes { allowed.insert("/") }
            return text.addingPercentEncoding(withAllowedCharacters: allowed) ?? text
        }
    }
#endif
