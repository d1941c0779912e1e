import Foundation
import Tensors
import Testing

/// Folders with one file, with shards, and with an index that lies.
@Suite struct SafetensorsCheckpointTests {
    /// Writes `tensors` as a file of the folder, each of one float.
    private func write(_ tensors: [String: Float], _ folder: String, _ name: String) throws {
        try SafetensorsWriter.write(
            try tensors.sorted { $0.key < $1.key }.map { ($0.key, try HostTensor([$0.value], shape: [1])) }, to: folder + "/" + name)
    }

    private func writeIndex(_ map: String, _ folder: String) throws {
        try Data("{\"metadata\":{\"total_size\":8},\"weight_map\":{\(map)}}".utf8)
            .write(to: URL(fileURLWithPath: folder + "/" + SafetensorsCheckpoint.indexFileName))
    }

    @Test func oneFileComesBeforeAnIndex() throws {
        try TestFiles.withFolder { folder in
            try write(["a": 1, "b": 2], folder, "model.safetensors")
            try writeIndex(#""c":"absent.safetensors""#, folder)
            let checkpoint = try SafetensorsCheckpoint(directory: folder)
            #expect(checkpoint.names == ["a", "b"])
            #expect(checkpoint.files.count == 1)
            #expect(checkpoint.tensorByteCount == 8)
        }
    }

    @Test func shardsAreJoined() throws {
        try TestFiles.withFolder { folder in
            try write(["a": 1, "c": 3], folder, "model-2.safetensors")
            try write(["b": 2], folder, "model-1.safetensors")
            try writeIndex(#""a":"model-2.safetensors","b":"model-1.safetensors","c":"model-2.safetensors""#, folder)
            let checkpoint = try SafetensorsCheckpoint(directory: folder)
            #expect(checkpoint.names == ["b", "a", "c"])
            #expect(try checkpoint.tensor("c").float32() == [3])
            #expect(checkpoint["b"]?.file.path.hasSuffix("/model-1.safetensors") == true)
            #expect(checkpoint["b"]?.descriptor.shape == [1])
            #expect(checkpoint["d"] == nil)
            let error = try TestFiles.error { _ = try checkpoint.tensor("d") }
            #expect(error.code == .missingTensor)
            #expect(error.message.contains("'d'"))
        }
    }

    @Test func theIndexAndTheShardsMustAgree() throws {
        try TestFiles.withFolder { folder in
            try write(["a": 1, "b": 2], folder, "one.safetensors")
            try write(["c": 3], folder, "two.safetensors")

            try writeIndex(#""a":"one.safetensors","b":"one.safetensors","c":"two.safetensors","d":"two.safetensors""#, folder)
            var error = try TestFiles.error { _ = try SafetensorsCheckpoint(directory: folder) }
            #expect(error.code == .missingTensor)
            #expect(error.message.contains("'d'") && error.message.contains("two.safetensors"))

            try writeIndex(#""a":"one.safetensors","c":"two.safetensors""#, folder)
            error = try TestFiles.error { _ = try SafetensorsCheckpoint(directory: folder) }
            #expect(error.code == .unexpectedTensor)
            #expect(error.message.contains("'b'"))

            try writeIndex(#""a":"one.safetensors","b":"three.safetensors""#, folder)
            error = try TestFiles.error { _ = try SafetensorsCheckpoint(directory: folder) }
            #expect(error.code == .notFound)
            #expect(error.message.contains("three.safetensors"))
        }
    }

    @Test(arguments: [
        "../one.safetensors", "/etc/passwd", "a/b.safetensors", "..", ".", "", ".hidden", #"a\\b"#, "C:x", #"x\u0000y"#,
        String(repeating: "x", count: 256),
    ])
    func aShardMustLieInTheFolder(name: String) throws {
        let text = "{\"weight_map\":{\"a\":\"\(name)\"}}"
        let error = try TestFiles.error { _ = try SafetensorsIndex(parsing: Array(text.utf8), file: "index") }
        #expect(error.code == .index)
        #expect(error.message.contains("'a'"))
    }

    @Test(arguments: [
        ("[]", TensorError.Code.index), ("{}", .index), (#"{"weight_map":[]}"#, .index), (#"{"weight_map":{"a":1}}"#, .index),
        (#"{"weight_map":{"a":"x"}"#, .index), ("", .index), (#"{"weight_map":{"a":"x","a":"y"}}"#, .duplicateName),
        (#"{"weight_map":{},"weight_map":{}}"#, .duplicateName),
    ])
    func aBadIndexIsRefused(text: String, code: TensorError.Code) throws {
        #expect(try TestFiles.error { _ = try SafetensorsIndex(parsing: Array(text.utf8), file: "index") }.code == code)
    }

    @Test func aFolderWithoutWeightsSaysWhatIsMissing() throws {
        try TestFiles.withFolder { folder in
            let error = try TestFiles.error { _ = try SafetensorsCheckpoint(directory: folder) }
            #expect(error.code == .notFound)
            #expect(error.message.contains("model.safetensors.index.json"))
            #expect(try TestFiles.error { _ = try SafetensorsCheckpoint(directory: folder + "/absent") }.code == .notFound)
            try write(["a": 1], folder, "file")
            #expect(try TestFiles.error { _ = try SafetensorsCheckpoint(directory: folder + "/file") }.code == .notRegularFile)
        }
    }

    @Test func oneTensorInTwoFilesIsRefused() throws {
        try TestFiles.withFolder { folder in
            try write(["a": 1], folder, "one.safetensors")
            let file = try SafetensorsFile(contentsOf: folder + "/one.safetensors")
            #expect(try TestFiles.error { _ = try SafetensorsCheckpoint(files: [file, file]) }.code == .duplicateName)
        }
    }
}
