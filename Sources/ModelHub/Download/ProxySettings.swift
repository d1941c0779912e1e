import Foundation

/// Which proxy leads to a host, read from an environment as curl and Python's clients read it.
///
/// `https_proxy` and `http_proxy` by the scheme of the address, else `all_proxy`; in capitals too, lower case first. `no_proxy` lists hosts that are reached
/// without: a name stands for itself and what ends in `.name`, a port behind it narrows it, `*` stands for all.
package struct ProxySettings: Sendable, Equatable {
    package struct Proxy: Sendable, Hashable {
        package enum Kind: Sendable { case http, socks5 }

        package var kind: Kind
        package var host: String
        package var port: Int
        /// `user:password`, decoded.
        package var credentials: String?
    }

    private var byScheme: [String: Proxy] = [:]
    private var exceptions: [String] = []

    /// Throws ``ModelHubError`` for a value that names no proxy that can be used.
    package init(environment: [String: String] = ProcessInfo.processInfo.environment) throws {
        func variable(_ name: String) -> (name: String, value: String)? {
            for name in [name, name.uppercased()] {
                if let value = environment[name]?.trimmingCharacters(in: .whitespaces), !value.isEmpty { return (name, value) }
            }
            return nil
        }
        for scheme in ["http", "https"] {
            guard let (name, value) = variable(scheme + "_proxy") ?? variable("all_proxy") else { continue }
            byScheme[scheme] = try Self.proxy(value, named: name)
        }
        exceptions = (variable("no_proxy")?.value ?? "").lowercased().split { $0 == "," || $0.isWhitespace }.map(String.init)
    }

    /// All that may be used.
    package var proxies: Set<Proxy> { Set(byScheme.values) }

    /// The proxy to an address, or nil where it is reached directly.
    package func proxy(scheme: String, host: String, port: Int) -> Proxy? {
        guard let proxy = byScheme[scheme] else { return nil }
        let host = host.lowercased()
        for exception in exceptions {
            if exception == "*" { return nil }
            var name = exception[...]
            if let colon = name.lastIndex(of: ":"), let named = Int(name[name.index(after: colon)...]), name.firstIndex(of: ":") == colon {
                guard named == port else { continue }
                name = name[..<colon]
            }
            while name.first == "." || name.first == "*" { name = name.dropFirst() }
            if !name.isEmpty, host == name || host.hasSuffix("." + name) { return nil }
        }
        return proxy
    }

    private static func proxy(_ value: String, named name: String) throws -> Proxy {
        // No part of the value is shown: it may hold a password.
        func refuse(_ what: String) -> ModelHubError {
            ModelHubError(.invalidReference, "\(name) \(what), expected http://host:port or socks5://host:port")
        }
        guard let parts = URLComponents(string: value.contains("://") ? value : "http://" + value), let host = parts.host, !host.isEmpty else {
            throw refuse("is no address")
        }
        let scheme = parts.scheme?.lowercased() ?? ""
        let kind: Proxy.Kind
        switch scheme {
        case "http": kind = .http
        case "socks5", "socks5h", "socks": kind = .socks5
        default: throw refuse("names a proxy of the kind '\(scheme)', which is not supported")
        }
        let port = parts.port ?? (kind == .http ? 80 : 1080)
        guard (1...65535).contains(port) else { throw refuse("has the port \(port)") }
        var credentials: String?
        if let user = parts.user {
            guard kind == .http else { throw refuse("has a user name, which is not supported for socks5") }
            credentials = "\(user):\(parts.password ?? "")"
        }
        let bare = host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host
        return Proxy(kind: kind, host: bare, port: port, credentials: credentials)
    }
}
