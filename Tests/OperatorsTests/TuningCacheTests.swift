import CUDA
import Foundation
import Operators
import Tensors
import Testing

/// Tuned choices on disk, without a GPU.
@Suite struct TuningCacheTests {
    private let identity = TuningIdentity(device: "NVIDIA H200", computeCapability: "9.0", driver: "580.1", kernel: "abc")
    private let key = TuningKey(operation: "rmsNorm", inputType: .bfloat16, outputType: .bfloat16, sizes: [640, 0])

    private func choice(_ lanes: Int, _ key: TuningKey? = nil) -> TunedChoice {
        TunedChoice(key: key ?? self.key, values: ["lanes": lanes, "rows": 1, "blocks": 1], seconds: 1e-6, standardSeconds: 1.25e-6)
    }

    private func withPath(_ body: (String) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("apus-tuning-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        try body(folder.appendingPathComponent("deep/tuning.json").path)
    }

    @Test func whatIsStoredIsFoundAgain() throws {
        try withPath { path in
            let cache = TuningCache(path: path)
            #expect(cache.count == 0 && cache.warning == nil && !cache.contains(key, on: identity))
            try cache.store(choice(64), on: identity)
            try cache.store(choice(128), on: identity)
            let other = TuningKey(operation: "gemm", inputType: .float8E4M3, outputType: .bfloat16, sizes: [1, 2, 3])
            try cache.store(choice(32, other), on: identity)
            for read in [cache, TuningCache(path: path)] {
                #expect(read.count == 2 && read.warning == nil)
                #expect(read.choice(for: key, on: identity) == choice(128))
                #expect(read.contains(other, on: identity) && read.entries.map(\.choice.key) == [key, other])
            }
            try cache.clear()
            #expect(TuningCache(path: path).count == 0)
        }
    }

    /// Every part of the machine and every part of the shape tells choices apart.
    @Test func aChoiceIsForOneMachineAndOneShape() throws {
        try withPath { path in
            let cache = TuningCache(path: path)
            try cache.store(choice(64), on: identity)
            for other in [
                TuningIdentity(device: "NVIDIA H100", computeCapability: "9.0", driver: "580.1", kernel: "abc"),
                TuningIdentity(device: "NVIDIA H200", computeCapability: "9.1", driver: "580.1", kernel: "abc"),
                TuningIdentity(device: "NVIDIA H200", computeCapability: "9.0", driver: "580.2", kernel: "abc"),
                TuningIdentity(device: "NVIDIA H200", computeCapability: "9.0", driver: "580.1", kernel: "abd"),
            ] { #expect(!cache.contains(key, on: other)) }
            for other in [
                TuningKey(operation: "rmsNormRoPE", inputType: .bfloat16, outputType: .bfloat16, sizes: [640, 0]),
                TuningKey(operation: "rmsNorm", inputType: .float16, outputType: .bfloat16, sizes: [640, 0]),
                TuningKey(operation: "rmsNorm", inputType: .bfloat16, outputType: .float16, sizes: [640, 0]),
                TuningKey(operation: "rmsNorm", inputType: .bfloat16, outputType: .bfloat16, sizes: [641, 0]),
            ] { #expect(!cache.contains(other, on: identity)) }
        }
    }

    @Test(arguments: ["", "{", "[]", "{\"format\": \"other\", \"choices\": []}", "{\"format\": \"apus-tuning-1\", \"choices\": {}}"])
    func aDamagedFileIsAWarningAndWrittenAnew(text: String) throws {
        try withPath { path in
            let folder = URL(fileURLWithPath: path).deletingLastPathComponent()
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            try Data(text.utf8).write(to: URL(fileURLWithPath: path))
            let cache = TuningCache(path: path)
            #expect(cache.count == 0 && cache.warning?.contains(path) == true)
            try cache.store(choice(64), on: identity)
            #expect(cache.warning == nil && TuningCache(path: path).choice(for: key, on: identity) == choice(64))
        }
    }

    @Test func aDamagedEntryLeavesTheOthers() throws {
        try withPath { path in
            let cache = TuningCache(path: path)
            try cache.store(choice(64), on: identity)
            let text = try String(contentsOfFile: path, encoding: .utf8).replacingOccurrences(
                of: "\"choices\": [", with: "\"choices\": [{\"device\": 1},")
            try Data(text.utf8).write(to: URL(fileURLWithPath: path))
            let read = TuningCache(path: path)
            #expect(read.count == 1 && read.warning?.contains("1 of 2") == true)
        }
    }

    @Test func storesOfOthersStay() throws {
        try withPath { path in
            let (first, second) = (TuningCache(path: path), TuningCache(path: path))
            try first.store(choice(64), on: identity)
            let other = TuningKey(operation: "rmsNorm", inputType: .bfloat16, outputType: .bfloat16, sizes: [1024, 0])
            try second.store(choice(32, other), on: identity)
            #expect(TuningCache(path: path).count == 2)
        }
    }

    @Test func thePlaceFollowsTheEnvironment() {
        func path(_ values: [String: String]) -> String? { TuningCache(path: nil, environment: Environment(values)).path }
        #expect(path(["APUS_TUNING": "/nowhere/a", "XDG_CACHE_HOME": "/nowhere/b", "HOME": "/nowhere/c"]) == "/nowhere/a")
        #expect(path(["XDG_CACHE_HOME": "/nowhere/b", "HOME": "/nowhere/c"]) == "/nowhere/b/apus/tuning.json")
        #expect(path(["XDG_CACHE_HOME": "b", "HOME": "/nowhere/c"]) == "/nowhere/c/.cache/apus/tuning.json")
        #expect(path([:]) == nil)
    }
}
