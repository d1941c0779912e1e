import Foundation
import ModelHub
import Testing

@Suite struct HubSettingsTests {
    @Test func followsTheVariablesInTheirOrder() {
        var environment = ["HOME": "/h"]
        #expect(HubSettings(environment: environment).cacheDirectory == "/h/.cache/huggingface/hub")
        environment["XDG_CACHE_HOME"] = "/xdg"
        #expect(HubSettings(environment: environment).cacheDirectory == "/xdg/huggingface/hub")
        environment["HF_HOME"] = "~/hf"
        #expect(HubSettings(environment: environment).cacheDirectory == "/h/hf/hub")
        environment["HUGGINGFACE_HUB_CACHE"] = "$HOME/old"
        #expect(HubSettings(environment: environment).cacheDirectory == "/h/old")
        environment["HF_HUB_CACHE"] = "${HOME}/new$NOT_SET${ALSO_NOT}$"
        #expect(HubSettings(environment: environment).cacheDirectory == "/h/new$NOT_SET${ALSO_NOT}$")
        environment["HF_HUB_CACHE"] = ""
        #expect(HubSettings(environment: environment).cacheDirectory == "/h/old")
    }

    @Test func readsEndpointAndOfflineMode() {
        #expect(HubSettings(environment: [:]).endpoint == "https://huggingface.co")
        #expect(HubSettings(environment: ["HF_ENDPOINT": "http://mirror:8080/base//"]).endpoint == "http://mirror:8080/base")
        for value in ["1", "on", "Yes", "TRUE"] {
            #expect(HubSettings(environment: ["HF_HUB_OFFLINE": value]).isOffline)
            #expect(HubSettings(environment: ["TRANSFORMERS_OFFLINE": value]).isOffline)
        }
        for value in ["0", "", "no", "2"] { #expect(!HubSettings(environment: ["HF_HUB_OFFLINE": value]).isOffline) }
        #expect(!HubSettings(environment: ["HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "1"]).isOffline)
    }

    @Test func findsTheToken() throws {
        let temporary = try TemporaryFolder()
        try temporary.write("  from-home \n", to: "token")
        try temporary.write("from-path\n", to: "elsewhere")
        var environment = ["HF_HOME": temporary.path]
        #expect(HubSettings(environment: environment).token == "from-home")
        environment["HF_TOKEN_PATH"] = temporary.path + "/elsewhere"
        #expect(HubSettings(environment: environment).token == "from-path")
        environment["HUGGING_FACE_HUB_TOKEN"] = "old-variable"
        #expect(HubSettings(environment: environment).token == "old-variable")
        environment["HF_TOKEN"] = "variable\n"
        #expect(HubSettings(environment: environment).token == "variable")
        environment["HF_HUB_DISABLE_IMPLICIT_TOKEN"] = "1"
        #expect(HubSettings(environment: environment).token == nil)
        #expect(HubSettings(environment: ["HF_HOME": temporary.path + "/none"]).token == nil)
    }
}
