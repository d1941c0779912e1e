import Foundation
import Tensors
import Testing

/// `.npy` files against NumPy's, and bad ones.
@Suite struct NPYTests {
    @Test func readsWhatNumPyWrites() throws {
        let matrix = try NPY.read(contentsOf: TestFiles.golden("matrix.npy"))
        #expect(matrix.shape == [7, 33])
        #expect(matrix.data == (try Data(contentsOf: URL(fileURLWithPath: TestFiles.golden("matrix.bin")))))
        let scalar = try NPY.read(contentsOf: TestFiles.golden("scalar.npy"))
        #expect(scalar.shape == [])
        #expect(try scalar.float32() == [1.5])
        #expect(try NPY.read(contentsOf: TestFiles.golden("vector.npy")).float32() == (0..<129).map(Float.init))
        #expect(try NPY.read(contentsOf: TestFiles.golden("empty.npy")).shape == [0, 5])
        let rows = try matrix.float32()
        for version in [2, 3] {
            let part = try NPY.read(contentsOf: TestFiles.golden("version\(version).npy"))
            #expect(part.shape == [3, 5])
            #expect(try part.float32() == (0..<3).flatMap { rows[($0 * 33)..<($0 * 33 + 5)] })
        }
    }

    @Test(arguments: ["matrix.npy", "scalar.npy", "vector.npy", "empty.npy"])
    func writesWhatNumPyReads(name: String) throws {
        let tensor = try NPY.read(contentsOf: TestFiles.golden(name))
        try TestFiles.withFolder { folder in
            try NPY.write(tensor.float32(), shape: tensor.shape, to: folder + "/a.npy")
            let written = try Data(contentsOf: URL(fileURLWithPath: folder + "/a.npy"))
            // NumPy keeps some room in the header for the array to grow; all else is the same.
            #expect((written.count - tensor.byteCount) % 64 == 0)
            #expect(try NPY.read(written, name: "a").float32() == tensor.float32())
            #expect(try NPY.read(written, name: "a").shape == tensor.shape)
            let golden = try Data(contentsOf: URL(fileURLWithPath: TestFiles.golden(name)))
            let head = written[10...].prefix { $0 != UInt8(ascii: "}") }
            #expect(head == golden[10...].prefix { $0 != UInt8(ascii: "}") })
        }
    }

    @Test func rowsAreAppended() throws {
        try TestFiles.withFolder { folder in
            let path = folder + "/rows.npy"
            var writer = try NPYRowWriter(path: path, columnCount: 3)
            try writer.append([1, 2, 3])
            try writer.append([4, 5, 6, 7, 8, 9])
            try writer.append([])
            do throws(TensorError) {
                try writer.append([1, 2])
                Issue.record("a part of a row was written")
            } catch {
                #expect(error.code == .shape)
            }
            #expect(writer.rowCount == 3)
            try writer.finish()
            let tensor = try NPY.read(contentsOf: path)
            #expect(tensor.shape == [3, 3])
            #expect(try tensor.float32() == [1, 2, 3, 4, 5, 6, 7, 8, 9])
            #expect(try TestFiles.names(in: folder) == ["rows.npy"])
        }
    }

    @Test func noRowsAreAFileToo() throws {
        try TestFiles.withFolder { folder in
            let writer = try NPYRowWriter(path: folder + "/none.npy", columnCount: 640)
            try writer.finish()
            #expect(try NPY.read(contentsOf: folder + "/none.npy").shape == [0, 640])
            do { _ = try NPYRowWriter(path: folder + "/dropped.npy", columnCount: 640) }
            #expect(try TestFiles.names(in: folder) == ["none.npy"])
        }
    }

    @Test func otherArraysAreUnsupported() throws {
        let columns = try TestFiles.error { _ = try NPY.read(contentsOf: TestFiles.golden("columns.npy")) }
        #expect(columns.code == .unsupported)
        #expect(columns.message.contains("column-major"))
        let doubles = try TestFiles.error { _ = try NPY.read(contentsOf: TestFiles.golden("doubles.npy")) }
        #expect(doubles.code == .unsupported)
        #expect(doubles.message.contains("<f8"))
    }

    private func file(_ text: String, version: UInt8 = 1, dataByteCount: Int = 8, length: Int? = nil) -> Data {
        let length = length ?? text.utf8.count
        let lengthBytes = (0..<(version == 1 ? 2 : 4)).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) }
        return Data([0x93] + Array("NUMPY".utf8) + [version, 0] + lengthBytes + Array(text.utf8)) + Data(count: dataByteCount)
    }

    @Test(arguments: [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", "{\"shape\":(1,2,),\"fortran_order\":False,\"descr\":\"<f4\"}",
        "  {'descr':'<f4','fortran_order':False,'shape':(2L,1L)}  ", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1)}",
    ])
    func literalsOfAnySpellingAreRead(text: String) throws {
        #expect(try NPY.read(file(text), name: "a").elementCount == 2)
        #expect(try NPY.read(file(text, version: 3), name: "a").elementCount == 2)
        #expect(try NPY.read((Data([1, 2, 3]) + file(text, version: 2))[3...], name: "a").float32() == [0, 0])
    }

    @Test(arguments: [
        ("", TensorError.Code.header), ("{}", .header), ("{'descr': '<f4', 'fortran_order': False}", .header),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}", .header),
        ("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", .header),
        ("{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}", .header),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2)}", .header),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x", .header),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)", .header),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': [2]}", .header), ("{'descr': '<f4", .header), ("{'descr': '<\\x664'", .header),
        ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", .unsupported),
        ("{'descr': '>f4', 'fortran_order': False, 'shape': (2,)}", .unsupported),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}", .shape),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", .shape),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}", .shape),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (" + String(repeating: "1,", count: 65) + ")}", .shape),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", .truncated),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", .trailingBytes),
    ])
    func badLiteralsAreRefused(text: String, code: TensorError.Code) throws {
        let error = try TestFiles.error { _ = try NPY.read(file(text), name: "bad.npy") }
        #expect(error.code == code, "\(error)")
        #expect(error.file == "bad.npy")
    }

    @Test func badPreamblesAreRefused() throws {
        let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}"
        #expect(try TestFiles.error { _ = try NPY.read(file(good, version: 4), name: "a") }.code == .unsupported)
        #expect(try TestFiles.error { _ = try NPY.read(file(good, version: 0), name: "a") }.code == .unsupported)
        #expect(try TestFiles.error { _ = try NPY.read(file(good, version: 2, length: 65_536), name: "a") }.code == .headerLength)
        #expect(try TestFiles.error { _ = try NPY.read(file(good, version: 2, length: 0xFFFF_FFFF), name: "a") }.code == .headerLength)
        #expect(try TestFiles.error { _ = try NPY.read(file(good, length: 1000), name: "a") }.code == .truncated)
        #expect(try TestFiles.error { _ = try NPY.read(Data(count: 100), name: "a") }.code == .header)
        #expect(try TestFiles.error { _ = try NPY.read(contentsOf: "/absent.npy") }.code == .notFound)
        let whole = try Data(contentsOf: URL(fileURLWithPath: TestFiles.golden("matrix.npy")))
        for count in 0..<whole.count {
            #expect(try TestFiles.error { _ = try NPY.read(whole.prefix(count), name: "cut") }.code == .truncated)
        }
    }
}
