import ModelHub
import Testing

@Suite struct ProxySettingsTests {
    func proxy(_ environment: [String: String], _ scheme: String = "https", _ host: String = "hub.example.com", _ port: Int = 443) throws -> String? {
        try ProxySettings(environment: environment).proxy(scheme: scheme, host: host, port: port).map { "\($0.kind) \($0.host) \($0.port)" }
    }

    @Test func theSchemeChooses() throws {
        #expect(try proxy([:]) == nil)
        #expect(try proxy(["HTTPS_PROXY": "http://a:3128"]) == "http a 3128")
        #expect(try proxy(["HTTPS_PROXY": "http://a:3128"], "http") == nil)
        #expect(try proxy(["HTTP_PROXY": "a:3128"], "http") == "http a 3128")
        #expect(try proxy(["https_proxy": "b", "HTTPS_PROXY": "a:1"]) == "http b 80")
        #expect(try proxy(["ALL_PROXY": "socks5h://c", "HTTPS_PROXY": ""]) == "socks5 c 1080")
        #expect(try proxy(["ALL_PROXY": "socks5://c:9", "https_proxy": "http://[::1]:7/"]) == "http ::1 7")
    }

    @Test func credentialsAreDecoded() throws {
        let settings = try ProxySettings(environment: ["https_proxy": "http://me:p%40ss@a:1"])
        #expect(settings.proxy(scheme: "https", host: "x", port: 443)?.credentials == "me:p@ss")
    }

    @Test(arguments: [
        ("*", true), ("hub.example.com", true), ("example.com", true), (".example.com", true), ("*.example.com", true), ("HUB.example.com", true),
        ("other.com, example.com", true), ("example.com:443", true), ("example.com:80", false), ("ample.com", false), ("", false),
        ("hub.example.com.org", false), (",,", false),
    ])
    func exceptions(list: String, isDirect: Bool) throws {
        #expect(try (proxy(["https_proxy": "http://a:1", "NO_PROXY": list]) == nil) == isDirect)
    }

    @Test(arguments: ["http://", "ftp://a:1", "https://a:1", "http://a:99999", "socks5://me:word@a:1", "http://a b"])
    func whatIsNoProxyIsRefusedWithoutShowingIt(value: String) throws {
        let error = try #require(throws: ModelHubError.self) { try ProxySettings(environment: ["https_proxy": value]) }
        #expect("\(error)".contains("https_proxy"))
        #expect(!"\(error)".contains("word"))
    }
}
