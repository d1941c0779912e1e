import Foundation
import Tensors
import Testing

@Suite struct SafetensorsWriterTests {
    @Test func writesWhatTheReferenceWrites() throws {
        let golden = try TestFiles.golden("types.safetensors")
        let file = try SafetensorsFile(contentsOf: golden)
        try TestFiles.withFolder { folder in
            let path = folder + "/copy.safetensors"
            try SafetensorsWriter.write(file.names.map { ($0, try file.tensor($0)) }, metadata: file.metadata, to: path)
            #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == file.data)
            #expect(try TestFiles.names(in: folder) == ["copy.safetensors"])
        }
    }

    @Test func bytesComeInAnyOrderAndInPieces() throws {
        try TestFiles.withFolder { folder in
            let path = folder + "/model.safetensors"
            let floats = try HostTensor((0..<33).map(Float.init), shape: [33])
            var writer = try SafetensorsWriter(
                path: path,
                tensors: [
                    TensorLayout(name: "bytes", dtype: .uint8, shape: [3]), TensorLayout(name: "floats", dtype: .float32, shape: [33]),
                    TensorLayout(name: "none", dtype: .float64, shape: [0]), TensorLayout(name: "half", dtype: .bfloat16, shape: [1]),
                ])
            try writer.append(floats.data.prefix(50), to: "floats")
            try writer.append(Data([7]), to: "bytes")
            try writer.append(floats.data.dropFirst(50), to: "floats")
            try writer.append(Data([8, 9]), to: "bytes")
            try writer.write(HostTensor([1.5], shape: [1], as: .bfloat16), to: "half")
            #expect(try TestFiles.names(in: folder).allSatisfy { $0.hasPrefix(".") }, "the file is in its place before it is whole")
            try writer.finish()
            let file = try SafetensorsFile(contentsOf: path)
            #expect(file.names == ["none", "floats", "half", "bytes"])
            #expect(file.tensors.values.allSatisfy { $0.isAligned })
            #expect(try file.tensor("floats").float32() == (0..<33).map(Float.init))
            #expect([UInt8](try file.tensor("bytes").data) == [7, 8, 9])
            #expect(try file.tensor("half").float32() == [1.5])
            #expect(try TestFiles.names(in: folder) == ["model.safetensors"])
        }
    }

    @Test(arguments: 0..<17) func headersOfAnyLengthArePadded(length: Int) throws {
        try TestFiles.withFolder { folder in
            let name = String(repeating: "n", count: length)
            try SafetensorsWriter.write([(name, HostTensor([2], shape: []))], to: folder + "/f")
            let file = try SafetensorsFile(contentsOf: folder + "/f")
            #expect(try #require(file.tensors[name]).byteRange.lowerBound % 8 == 0)
            #expect(try file.tensor(name).float32() == [2])
        }
    }

    @Test func textIsEscaped() throws {
        try TestFiles.withFolder { folder in
            let texts = ["quote\" backslash\\ slash/", "\u{0}\u{1}\u{1F}\u{7F}\n\r\t", "日本 🕊 e\u{301}", ""]
            let metadata = Dictionary(uniqueKeysWithValues: texts.map { ($0, $0) })
            try SafetensorsWriter.write(try texts.map { ($0, try HostTensor([1], shape: [1])) }, metadata: metadata, to: folder + "/f")
            let file = try SafetensorsFile(contentsOf: folder + "/f")
            #expect(file.metadata == metadata)
            #expect(file.names == texts)
        }
    }

    @Test func anUnfinishedFileLeavesTheOldOne() throws {
        try TestFiles.withFolder { folder in
            let path = folder + "/f"
            try SafetensorsWriter.write([("old", HostTensor([1], shape: [1]))], to: path)
            let layouts = [try TensorLayout(name: "new", dtype: .float32, shape: [2])]
            do {
                var dropped = try SafetensorsWriter(path: path, tensors: layouts)
                try dropped.append(Data(count: 4), to: "new")
            }
            var writer = try SafetensorsWriter(path: path, tensors: layouts)
            try writer.append(Data(count: 4), to: "new")
            do throws(TensorError) {
                try writer.finish()
                Issue.record("a file that lacks bytes was finished")
            } catch {
                #expect(error.code == .incomplete)
                #expect(error.message.contains("'new'"))
            }
            #expect(try TestFiles.names(in: folder) == ["f"])
            #expect(try SafetensorsFile(contentsOf: path).names == ["old"])
        }
    }

    @Test func whatWasNotDeclaredIsRefused() throws {
        try TestFiles.withFolder { folder in
            let layout = try TensorLayout(name: "a", dtype: .float32, shape: [2])
            #expect(
                try TestFiles.error { _ = try SafetensorsWriter(path: folder + "/f", tensors: [layout, layout]) }.code == .duplicateName)
            #expect(try TestFiles.error { _ = try SafetensorsWriter(path: folder + "/no/f", tensors: [layout]) }.code == .unwritable)
            #expect(try TestFiles.error { _ = try SafetensorsWriter(path: folder, tensors: [layout]) }.code == .unwritable)
            #expect(try TestFiles.error { _ = try TensorLayout(name: "__metadata__", dtype: .uint8, shape: []) }.code == .header)
            #expect(try TestFiles.error { _ = try TensorLayout(name: "a", dtype: .uint8, shape: [-1]) }.code == .shape)
            var writer = try SafetensorsWriter(path: folder + "/f", tensors: [layout])
            for (code, name, tensor) in [
                (TensorError.Code.missingTensor, "b", try HostTensor([1, 2], shape: [2])),
                (.shape, "a", try HostTensor([1, 2], shape: [1, 2])), (.shape, "a", try HostTensor([1, 2], shape: [2], as: .float16)),
            ] {
                do throws(TensorError) {
                    try writer.write(tensor, to: name)
                    Issue.record("a tensor that was not declared was written")
                } catch {
                    #expect(error.code == code)
                }
            }
            do throws(TensorError) {
                try writer.append(Data(count: 9), to: "a")
                Issue.record("more bytes than declared were written")
            } catch {
                #expect(error.code == .incomplete)
            }
        }
    }
}
