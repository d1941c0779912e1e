import CUDA
import Foundation
import Operators
import Tensors
import Testing

/// Shapes, strides and addresses of views; no GPU is touched.
@Suite struct DeviceTensorTests {
    private func tensor(_ shape: [Int], _ dtype: DType = .bfloat16, byteCount: Int = 1 << 20) throws -> DeviceTensor {
        try DeviceTensor(DeviceRegion(address: DeviceAddress(bits: 0x1000), byteCount: byteCount), ordinal: 0, dtype: dtype, shape: shape)
    }

    @Test func slicesOfAFusedProjection() throws {
        let fused = try tensor([7, 1024])
        let keys = try fused.slice(1, 512..<768).split(1, into: (2, 128))
        #expect(keys.shape == [7, 2, 128])
        #expect(keys.strides == [1024, 128, 1])
        #expect(keys.address.bits == 0x1000 + 512 * 2)
        #expect(!keys.isContiguous)
        let token = try keys.slice(0, 3..<4)
        #expect(token.address.bits == 0x1000 + (3 * 1024 + 512) * 2)
        #expect(token.isContiguous)
        #expect(try token.reshaped([-1, 64]).shape == [4, 64])
        #expect(errorOf { _ = try keys.reshaped([7, 256]) }?.code == .layout)
    }

    @Test func viewsThatDoNotFit() throws {
        let x = try tensor([4, 6])
        #expect(errorOf { _ = try x.slice(2, 0..<1) }?.code == .argument)
        #expect(errorOf { _ = try x.slice(1, 3..<7) }?.code == .argument)
        #expect(errorOf { _ = try x.split(1, into: (4, 2)) }?.code == .argument)
        #expect(errorOf { _ = try x.split(1, into: (-2, -3)) }?.code == .argument)
        #expect(errorOf { _ = try x.split(1, into: (.max, 2)) }?.code == .argument)
        #expect(errorOf { _ = try x.reshaped([5, -1]) }?.code == .shape)
        #expect(errorOf { _ = try x.reshaped([-1, -1]) }?.code == .shape)
        #expect(errorOf { _ = try x.reshaped([.max, .max]) }?.code == .shape)
        #expect(errorOf { _ = try x.reinterpreted(as: .float32) }?.code == .argument)
        #expect(try x.reinterpreted(as: .float16).dtype == .float16)
        #expect(errorOf { _ = try tensor([4, 6], byteCount: 47) }?.code == .shape)
        #expect(errorOf { _ = try tensor([.max, 2]) }?.code == .shape)
        #expect(errorOf { _ = try tensor([-1]) }?.code == .shape)
    }

    @Test func emptyViews() throws {
        let x = try tensor([4, 6])
        let none = try x.slice(0, 4..<4)
        #expect(none.shape == [0, 6])
        #expect(none.isEmpty && none.isContiguous)
        #expect(try none.reshaped([6, 0]).shape == [6, 0])
    }

    @Test func writesAreCounted() throws {
        let x = try tensor([4])
        let before = x.storage.version
        x.storage.markWritten()
        #expect(x.storage.version != before)
    }
}
