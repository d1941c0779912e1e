import Foundation

/// Where the hub and its cache are, read from an environment exactly as huggingface_hub reads it.
///
/// `HF_HUB_CACHE` (or the older `HUGGINGFACE_HUB_CACHE`), else `HF_HOME/hub`, where `HF_HOME` is by default `huggingface` in `XDG_CACHE_HOME` or `~/.cache`;
/// `HF_ENDPOINT`; `HF_TOKEN` (or `HUGGING_FACE_HUB_TOKEN`), else the file `HF_TOKEN_PATH` or `HF_HOME/token`; `HF_HUB_OFFLINE` or
/// `TRANSFORMERS_OFFLINE`. A leading `~` and `$NAME` are expanded in paths. A variable that is empty counts as unset.
package struct HubSettings: Sendable {
    package static let defaultEndpoint = "https://huggingface.co"

    package var cacheDirectory: String
    /// Base address of the hub, with no slash at its end.
    package var endpoint: String
    /// Sent to the endpoint, and to no other host.
    package var token: String?
    package var isOffline: Bool
    /// The variables that name proxies, read when something is fetched: see ``ProxySettings``.
    package var proxyEnvironment: [String: String]

    package init(environment: [String: String] = ProcessInfo.processInfo.environment) {
        func variable(_ names: String...) -> String? {
            for name in names {
                if let value = environment[name], !value.isEmpty { return value }
            }
            return nil
        }
        func path(_ names: String...) -> String? {
            for name in names {
                if let value = variable(name) { return Self.expand(value, environment) }
            }
            return nil
        }
        let user = variable("HOME") ?? NSHomeDirectory()
        let home = path("HF_HOME") ?? (path("XDG_CACHE_HOME") ?? user + "/.cache") + "/huggingface"
        cacheDirectory = path("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE") ?? home + "/hub"
        var endpoint = variable("HF_ENDPOINT") ?? Self.defaultEndpoint
        while endpoint.hasSuffix("/") { endpoint.removeLast() }
        self.endpoint = endpoint
        proxyEnvironment = environment.filter { $0.key.lowercased().hasSuffix("_proxy") }
        isOffline = Self.isTrue(variable("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
        token = variable("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN").flatMap(Self.clean)
        if token == nil {
            let file = path("HF_TOKEN_PATH") ?? home + "/token"
            token = (try? String(contentsOfFile: file, encoding: .utf8)).flatMap(Self.clean)
        }
        // The user's wish that no stored token goes out unasked.
        if Self.isTrue(variable("HF_HUB_DISABLE_IMPLICIT_TOKEN")) { token = nil }
    }

    private static func isTrue(_ value: String?) -> Bool {
        value.map { ["1", "ON", "YES", "TRUE"].contains($0.uppercased()) } ?? false
    }

    private static func clean(_ token: String) -> String? {
        let token = token.trimmingCharacters(in: .whitespacesAndNewlines)
        return token.isEmpty ? nil : token
    }

    /// `~`, `$NAME` and `${NAME}`; a name that is not set stays as it stands.
    static func expand(_ path: String, _ environment: [String: String]) -> String {
        var path = path
        if path == "~" || path.hasPrefix("~/") { path = (environment["HOME"] ?? NSHomeDirectory()) + path.dropFirst() }
        var result = ""
        var rest = path[...]
        while let dollar = rest.firstIndex(of: "$") {
            result += rest[..<dollar]
            rest = rest[rest.index(after: dollar)...]
            let isBraced = rest.first == "{"
            let body = isBraced ? rest.dropFirst() : rest
            let name = body.prefix { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
            let tail = body[name.endIndex...]
            if !name.isEmpty, let value = environment[String(name)], !isBraced || tail.first == "}" {
                result += value
                rest = isBraced ? tail.dropFirst() : tail
            } else {
                result += "$"
            }
        }
        return result + rest
    }
}
