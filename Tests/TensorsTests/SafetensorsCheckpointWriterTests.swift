import Foundation
import Tensors
import Testing

@Suite struct SafetensorsCheckpointWriterTests {
    /// Six tensors of 4, 8, 0, 40, 12 and 0 bytes.
    private let sizes = [1, 2, 0, 10, 3, 0]

    private func tensors() throws -> [(name: String, tensor: HostTensor)] {
        try sizes.enumerated().map { index, size in
            ("t\(index)", try HostTensor((0..<size).map { Float(index * 100 + $0) }, shape: [size]))
        }
    }

    private func write(_ folder: String, maximumShardByteCount: Int?) throws -> [String] {
        let tensors = try tensors()
        var writer = try SafetensorsCheckpointWriter(
            directory: folder, tensors: try tensors.map { try TensorLayout(name: $0.name, dtype: .float32, shape: $0.tensor.shape) },
            maximumShardByteCount: maximumShardByteCount)
        let names = writer.fileNames
        for (name, tensor) in tensors { try writer.write(tensor, to: name) }
        try writer.finish()
        return names
    }

    @Test(arguments: [nil, 64, 63, 16, 12, 1] as [Int?])
    func comesBackInShardsOfAnySize(bound: Int?) throws {
        try TestFiles.withFolder { folder in
            let names = try write(folder, maximumShardByteCount: bound)
            let expectedCounts: [Int?: Int] = [nil: 1, 64: 1, 63: 2, 16: 3, 12: 3, 1: 4]
            #expect(names.count == expectedCounts[bound])
            #expect(try TestFiles.names(in: folder) == (names + (names.count > 1 ? ["model.safetensors.index.json"] : [])).sorted())
            if names.count == 1 { #expect(names == ["model.safetensors"]) } else { #expect(names[0].hasPrefix("model-00001-of-0000")) }
            let checkpoint = try SafetensorsCheckpoint(directory: folder)
            for (name, tensor) in try tensors() { #expect(try checkpoint.tensor(name).float32() == tensor.float32()) }
            #expect(checkpoint.names.count == sizes.count)
            for file in checkpoint.files {
                #expect(file.metadata == ["format": "pt"])
                let byteCount = file.tensors.values.reduce(0) { $0 + $1.byteCount }
                #expect(byteCount <= bound ?? 64 || file.tensors.values.filter { $0.byteCount > 0 }.count == 1)
            }
        }
    }

    @Test func oneCheckpointDoesNotHideAnother() throws {
        try TestFiles.withFolder { folder in
            _ = try write(folder, maximumShardByteCount: nil)
            #expect(try TestFiles.error { _ = try write(folder, maximumShardByteCount: 12) }.code == .unwritable)
            // The same form may be written again.
            _ = try write(folder, maximumShardByteCount: nil)
        }
    }

    @Test func shardsAreWrittenOneAfterTheOther() throws {
        try TestFiles.withFolder { folder in
            let layouts = [
                try TensorLayout(name: "a", dtype: .uint8, shape: [2]), try TensorLayout(name: "b", dtype: .uint8, shape: [2]),
            ]
            var writer = try SafetensorsCheckpointWriter(directory: folder, tensors: layouts, maximumShardByteCount: 2)
            try writer.append(Data([1]), to: "a")
            func code(_ body: () throws(TensorError) -> Void) -> TensorError.Code? {
                do throws(TensorError) {
                    try body()
                    return nil
                } catch {
                    return error.code
                }
            }
            #expect(code { () throws(TensorError) in try writer.append(Data([3, 4]), to: "b") } == .incomplete)
            #expect(code { () throws(TensorError) in try writer.append(Data([3, 4]), to: "c") } == .missingTensor)
            #expect(code { () throws(TensorError) in try writer.append(Data([2, 2]), to: "a") } == .incomplete)
            try writer.append(Data([2]), to: "a")
            #expect(code { () throws(TensorError) in try writer.append(Data([2]), to: "a") } == .incomplete)
            do throws(TensorError) {
                try writer.finish()
                Issue.record("a checkpoint that lacks bytes was finished")
            } catch {
                #expect(error.code == .incomplete)
                #expect(error.message.contains("'b'"))
            }
            #expect(try TestFiles.names(in: folder) == ["model-00001-of-00002.safetensors"])
        }
    }
}
