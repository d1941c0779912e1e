import Foundation
import ModelHub
import Testing

@Suite struct ModelFolderTests {
    @Test func readsADirectoryAndMemoryAlike() throws {
        let temporary = try TemporaryFolder()
        try temporary.write("{}", to: "config.json")
        try temporary.write([1, 2, 3], to: "1_Pooling/x.bin")
        let disk = try ModelFolder(path: temporary.path)
        let memory = ModelFolder(files: ["config.json": Data("{}".utf8), "1_Pooling/x.bin": Data([1, 2, 3])], name: "inside")
        for folder in [disk, memory] {
            #expect(folder.contains("config.json") && folder.contains("1_Pooling/x.bin"))
            #expect(
                !folder.contains("1_Pooling") && !folder.contains("nothing") && !folder.contains("../config.json") && !folder.contains(""))
            #expect(try folder.bytes(of: "1_Pooling/x.bin") == [1, 2, 3])
            #expect(try Array(folder.data(of: "1_Pooling/x.bin")) == [1, 2, 3])
            #expect(try folder.subfolder("1_Pooling").bytes(of: "x.bin") == [1, 2, 3])
            #expect(
                folder.fileNames() == ["config.json"] && folder.fileNames(in: "1_Pooling") == ["x.bin"] && folder.fileNames(in: "..") == [])
            #expect(try #require(throws: ModelHubError.self) { try folder.bytes(of: "nothing") }.code == .notFound)
            #expect(
                try #require(throws: ModelHubError.self) { try folder.bytes(of: "config.json", maximumByteCount: 1) }.code == .invalidFile)
        }
        #expect(disk.path(of: "config.json") == temporary.path + "/config.json" && disk.path(of: "nothing") == nil)
        #expect(memory.path(of: "config.json") == nil && memory.directory == nil && memory.name == "inside")
    }

    @Test(arguments: ["../secret", "/etc/passwd", "a/../../secret", "a//b", "./a", "a\0b", "", "a/", "..", "a\nb"])
    func neverLeavesTheFolder(name: String) throws {
        let temporary = try TemporaryFolder()
        try temporary.write("secret", to: "secret")
        try temporary.write("", to: "model/a/b")
        let folder = try ModelFolder(path: temporary.path + "/model")
        #expect(!ModelFile.isSafe(name) && !folder.contains(name) && folder.path(of: name) == nil)
        #expect(throws: ModelHubError.self) { try folder.bytes(of: name) }
        #expect(throws: ModelHubError.self) { try folder.subfolder(name) }
    }

    @Test func mapsAnEmptyFile() throws {
        let temporary = try TemporaryFolder()
        try temporary.write("", to: "model.safetensors")
        #expect(try ModelFolder(path: temporary.path).data(of: "model.safetensors").isEmpty)
    }

    @Test func readsNoDevice() throws {
        let temporary = try TemporaryFolder()
        try temporary.link("config.json", to: "/dev/zero")
        try temporary.link("gone.json", to: "nowhere")
        let folder = try ModelFolder(path: temporary.path)
        #expect(!folder.contains("config.json") && !folder.contains("gone.json"))
        #expect(try #require(throws: ModelHubError.self) { try folder.bytes(of: "config.json") }.code == .notFound)
    }

    @Test func aFolderWithoutConfigurationSaysSo() throws {
        let temporary = try TemporaryFolder()
        let error = try #require(throws: ModelHubError.self) { try ModelConfiguration(folder: ModelFolder(path: temporary.path)) }
        #expect(error.code == .notFound && error.message.contains("has no config.json"))
    }

    @Test func opensPathsAndSaysWhatIsWrongWithNames() async throws {
        let temporary = try TemporaryFolder()
        try temporary.write("{}", to: "model/config.json")
        let environment = ["HF_HOME": temporary.path + "/hf", "HOME": temporary.path]
        #expect(try await ModelFolder.open(temporary.path + "/model", environment: environment).contains("config.json"))
        #expect(try await ModelFolder.open("~/model", environment: environment).contains("config.json"))

        func failure(_ reference: String, _ policy: DownloadPolicy = .never) async throws -> ModelHubError {
            try await #require(throws: ModelHubError.self) {
                try await ModelFolder.open(reference, download: policy, environment: environment)
            }
        }
        let bare = try await failure("foo", .ifMissing)
        #expect(bare.code == .notFound)
        #expect(
            bare.message.hasPrefix("'foo' is no folder and not in the cache (\(temporary.path)/hf/hub); did you mean ./foo?"), "\(bare)")
        let named = try await failure("owner/name@v2")
        #expect(named.code == .notFound && named.message.contains("'owner/name@v2' is no folder and not in the cache"), "\(named)")
        #if !Hub
            let unfetched = try await failure("owner/name", .ifMissing)
            #expect(unfetched.code == .noDownload && unfetched.message.contains("Hub trait"), "\(unfetched)")
        #endif
        #expect(try await failure("./foo").message == "there is no folder './foo'")
        #expect(try await failure("a/b/c").message.contains("owner/name"))
        #expect(try await failure("").code == .invalidReference)
        #expect(try await failure(temporary.path + "/model/config.json").message.contains("is a file"))
    }
}

@Suite struct ModelReferenceTests {
    @Test(arguments: [
        ("microsoft/harrier-oss-v1-270m", "microsoft/harrier-oss-v1-270m", "main"), ("Qwen/Qwen3-0.6B@v1.0", "Qwen/Qwen3-0.6B", "v1.0"),
        ("a/b@refs/pr/1", "a/b", "refs/pr/1"), ("gpt2", "gpt2", "main"), ("_a/b_", "_a/b_", "main"),
    ])
    func parses(text: String, repository: String, revision: String) throws {
        let reference = try #require(ModelReference(parsing: text))
        #expect(reference.repository == repository && reference.revision == revision)
        #expect(reference.cacheFolderName == "models--" + repository.split(separator: "/").joined(separator: "--"))
        #expect(try ModelReference(repository: repository, revision: revision) == reference)
    }

    @Test(arguments: [
        "", "/", "a/", "/a", "a/b/c", "a b", "a--b/c", "a..b/c", "-a/b", "a/b-", "a/.b", "a/b.git", "ä/b", "a/b@", "a/b@../x", "a/b@x y",
        "a/b@/x", "a/b@x/",
        "a/b@x@y", "a\\b", String(repeating: "a", count: 97),
    ])
    func refuses(text: String) throws {
        #expect(ModelReference(parsing: text) == nil)
    }

    @Test func knowsCommits() throws {
        #expect(try ModelReference(repository: "a/b", revision: "0123456789abcdef0123456789abcdef01234567").isCommit)
        #expect(try !ModelReference(repository: "a/b", revision: "0123456789abcdef").isCommit)
        #expect(throws: ModelHubError.self) { try ModelReference(repository: "a/b/c") }
        #expect(throws: ModelHubError.self) { try ModelReference(repository: "a/b", revision: "..") }
    }
}
