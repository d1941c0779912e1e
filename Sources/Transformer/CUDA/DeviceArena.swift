package import CUDA
package import Operators
package import Tensors

/// One allocation of the GPU from which tensors are cut, so that memory that does not suffice is noticed at once and named as a whole.
///
/// The tensors do not keep the arena alive: whoever hands them out holds both.
package final class DeviceArena: Sendable {
    private let buffer: DeviceBuffer
    private let context: Context

    package var byteCount: Int { buffer.byteCount }

    /// Memory for all streams, for what lives long.
    package init(byteCount: Int, in context: Context) throws {
        buffer = try DeviceBuffer(byteCount: byteCount, in: context)
        self.context = context
    }

    /// Memory in the order of a stream, for what is replaced while work is under way.
    package init(byteCount: Int, on stream: Stream) throws {
        buffer = try DeviceBuffer(byteCount: byteCount, on: stream)
        context = stream.context
    }

    /// The tensor at an offset, row-major.
    package func tensor(_ dtype: DType, _ shape: [Int], at offset: Int) throws -> DeviceTensor {
        let byteCount = shape.reduce(dtype.byteCount, *)
        return try DeviceTensor(
            borrowing: buffer.region.slice(at: offset, byteCount: byteCount), dtype: dtype, shape: shape, on: context)
    }
}

/// Where tensors lie in an arena: each starts at a multiple of 256 bytes, as the copy engine and wide loads like it.
package struct ArenaLayout: Sendable, Equatable {
    package private(set) var byteCount = 0

    package init() {}

    /// The offset of a tensor that is put behind those so far.
    package mutating func place(_ dtype: DType, _ shape: [Int]) -> Int {
        let offset = byteCount
        byteCount += Self.rounded(shape.reduce(dtype.byteCount, *))
        return offset
    }

    package static func rounded(_ byteCount: Int) -> Int { (byteCount + 255) / 256 * 256 }
}
