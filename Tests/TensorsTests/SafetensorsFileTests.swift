import Foundation
import Tensors
import Testing

/// Good files: those that the reference implementation writes, and rare but valid ones.
@Suite struct SafetensorsFileTests {
    @Test func readsEveryType() throws {
        let file = try SafetensorsFile(contentsOf: TestFiles.golden("types.safetensors"))
        #expect(file.metadata == ["naïve \"text\"": "line\nbreak"])
        #expect(Set(file.tensors.values.map(\.dtype)) == Set(DType.allCases))
        for dtype in DType.allCases where dtype.isFloatingPoint {
            let tensor = try file.tensor(dtype.description)
            let expected = try file.tensor(dtype.description + ".float32")
            #expect(tensor.dtype == dtype)
            #expect(tensor.shape == expected.shape)
            #expect(try tensor.float32() == expected.float32(), "\(dtype)")
        }
        #expect([UInt8](try file.tensor("int16").data) == [0x00, 0x80, 0x01, 0x00, 0xFF, 0x7F])
        #expect([UInt8](try file.tensor("bool").data) == [1, 0, 1, 1, 0])
        #expect(try file.tensor("scalar").shape == [])
        #expect(try file.tensor("scalar").float32() == [2.5])
        #expect(try file.tensor("empty").shape == [0, 3])
        #expect(try file.tensor("empty").float32() == [])
        #expect(file.tensors.values.allSatisfy { $0.isAligned })
    }

    @Test func namesFollowTheBytes() throws {
        let file = try SafetensorsFile(contentsOf: TestFiles.golden("types.safetensors"))
        #expect(file.names.count == file.tensors.count)
        let starts = file.names.compactMap { file.tensors[$0]?.byteRange.lowerBound }
        #expect(starts == starts.sorted())
        #expect(file.names.last == "bool")
        for (name, descriptor) in file.tensors {
            #expect(descriptor.name == name)
            #expect(file.data[descriptor.byteRange] == (try file.tensor(name).data))
            #expect(descriptor.elementCount == descriptor.shape.reduce(1, *))
        }
    }

    @Test func unalignedTensorsAreReadable() throws {
        let file = try SafetensorsFile(contentsOf: TestFiles.golden("unaligned.safetensors"))
        let floats = try #require(file.tensors["floats"])
        #expect(!floats.isAligned)
        #expect(file.tensors["bytes"]?.isAligned == true)
        #expect(try file.tensor("floats").float32() == [0.5, -1.25, 3e8, 0, 7])
    }

    @Test func emptyAndOddHeadersAreValid() throws {
        let empty = try SafetensorsFile(data: TestFiles.safetensors("{}"), name: "empty")
        #expect(empty.names.isEmpty)
        // Members that are not known are passed over, and empty tensors take no place between others.
        let header = """
            {"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8],"note":{"x":[1,null]}},"":{"shape":[4],"data_offsets":[0,4],"dtype":"U8"},
            "z":{"dtype":"F64","shape":[7,0,9],"data_offsets":[4,4]},"__metadata__":{}}\u{20}\u{20}
            """
        let file = try SafetensorsFile(data: TestFiles.safetensors(header, dataByteCount: 8), name: "odd")
        #expect(file.names == ["", "z", "b"])
        #expect([UInt8](try file.tensor("").data) == [0, 1, 2, 3])
    }

    @Test func bytesOfASliceAreReadFromTheirOwnStart() throws {
        let bytes = TestFiles.safetensors(#"{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}"#, dataByteCount: 3)
        let file = try SafetensorsFile(data: (Data([7, 7, 7, 7, 7]) + bytes)[5...], name: "slice")
        #expect([UInt8](try file.tensor("a").data) == [0, 1, 2])
    }

    @Test func aMissingTensorIsNamed() throws {
        let file = try SafetensorsFile(contentsOf: TestFiles.golden("unaligned.safetensors"))
        let error = try TestFiles.error { _ = try file.tensor("model.norm.weight") }
        #expect(error.code == .missingTensor)
        #expect(error.message.contains("model.norm.weight"))
        #expect(error.file == file.path)
    }

    @Test func whatIsNoFileIsRefused() throws {
        try TestFiles.withFolder { folder in
            #expect(try TestFiles.error { _ = try SafetensorsFile(contentsOf: folder) }.code == .notRegularFile)
            #expect(try TestFiles.error { _ = try SafetensorsFile(contentsOf: folder + "/absent") }.code == .notFound)
            #expect(try TestFiles.error { _ = try SafetensorsFile(contentsOf: "") }.code == .notFound)
            #expect(try TestFiles.error { _ = try SafetensorsFile(contentsOf: "a\0b") }.code == .notFound)
            // Neither may be opened: the one would block, the other never end.
            #expect(mkfifo(folder + "/pipe", 0o600) == 0)
            #expect(try TestFiles.error { _ = try SafetensorsFile(contentsOf: folder + "/pipe") }.code == .notRegularFile)
            #expect(try TestFiles.error { _ = try SafetensorsFile(contentsOf: "/dev/zero") }.code == .notRegularFile)
            let file = folder + "/unreadable"
            try TestFiles.safetensors("{}").write(to: URL(fileURLWithPath: file))
            #expect(chmod(file, 0) == 0)
            // The superuser reads it all the same.
            if geteuid() != 0 { #expect(try TestFiles.error { _ = try SafetensorsFile(contentsOf: file) }.code == .unreadable) }
        }
    }

    @Test func linksAreFollowed() throws {
        try TestFiles.withFolder { folder in
            try FileManager.default.createSymbolicLink(
                atPath: folder + "/link", withDestinationPath: TestFiles.golden("unaligned.safetensors"))
            #expect(try SafetensorsFile(contentsOf: folder + "/link").names == ["bytes", "floats"])
        }
    }
}
