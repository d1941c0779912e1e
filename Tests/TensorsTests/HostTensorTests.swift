import Foundation
import Tensors
import Testing

@Suite struct HostTensorTests {
    @Test(arguments: [[], [0], [1], [31], [3, 11], [127], [0, 5], [1, 129], [513]])
    func floatsComeBack(shape: [Int]) throws {
        let values = (0..<shape.reduce(1, *)).map { Float($0) * 0.37 - 3 }
        let tensor = try HostTensor(values, shape: shape)
        #expect(tensor.dtype == .float32)
        #expect(tensor.elementCount == values.count)
        #expect(tensor.byteCount == values.count * 4)
        #expect(try tensor.float32() == values)
    }

    @Test(arguments: [DType.float64, .float16, .bfloat16, .float8E4M3, .float8E5M2])
    func narrowFloatsComeBack(dtype: DType) throws {
        // Values that each of the types holds.
        let values: [Float] = [0, 1, -1.5, 0.25, 448, -56]
        let tensor = try HostTensor(values, shape: [2, 3], as: dtype)
        #expect(tensor.byteCount == 6 * dtype.byteCount)
        #expect(try tensor.float32() == values)
    }

    @Test func slicesAreReadFromTheirOwnStart() throws {
        let bytes = try HostTensor([1, 2, 3, 4], shape: [4]).data
        // Three bytes in front: neither 0-based nor aligned.
        let slice = (Data([9, 9, 9]) + bytes)[3...]
        #expect(slice.startIndex == 3)
        #expect(try HostTensor(dtype: .float32, shape: [4], data: slice).float32() == [1, 2, 3, 4])
    }

    @Test func sizesMustAgree() throws {
        #expect(try TestFiles.error { _ = try HostTensor([1, 2, 3], shape: [2]) }.code == .shape)
        #expect(try TestFiles.error { _ = try HostTensor(dtype: .float32, shape: [2], data: Data(count: 7)) }.code == .shape)
        #expect(try TestFiles.error { _ = try HostTensor(dtype: .uint8, shape: [-1, -1], data: Data(count: 1)) }.code == .shape)
        #expect(try TestFiles.error { _ = try HostTensor(dtype: .uint8, shape: [.max, 2], data: Data()) }.code == .shape)
        #expect(try TestFiles.error { _ = try HostTensor(dtype: .float64, shape: [.max], data: Data()) }.code == .shape)
    }

    @Test func integersAreNoFloats() throws {
        let tensor = try HostTensor(dtype: .int32, shape: [1], data: Data(count: 4))
        #expect(try TestFiles.error { _ = try tensor.float32() }.code == .dataType)
        #expect(try TestFiles.error { _ = try HostTensor([1], shape: [1], as: .int8) }.code == .dataType)
    }
}
