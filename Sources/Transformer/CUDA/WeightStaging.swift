import CUDA
import Operators

/// Memory of bounded size that weights pass through on their way to a GPU, when they are not copied as they lie in the file.
final class WeightStaging {
    /// Rows enough for all processors, and few enough to stay in their caches until they are copied.
    private static let byteCount = 8 << 20

    private let stream: Stream
    private var buffer = UnsafeMutableRawBufferPointer(start: nil, count: 0)

    init(stream: Stream) { self.stream = stream }

    deinit { buffer.deallocate() }

    /// Fills a region, whose size is that of the rows, and waits for it.
    func upload(_ rows: BrainFloatRows, to region: DeviceRegion) throws {
        let step = max(1, Self.byteCount / rows.rowByteCount)
        for first in stride(from: 0, to: rows.count, by: step) {
            let range = first..<min(first + step, rows.count)
            let bytes = room(range.count * rows.rowByteCount)
            rows.write(range, to: bytes)
            try stream.upload(UnsafeRawBufferPointer(bytes), to: region.slice(at: first * rows.rowByteCount, byteCount: bytes.count))
            // The copy may still read what it was given until the stream has passed it.
            try stream.synchronize()
        }
    }

    private func room(_ byteCount: Int) -> UnsafeMutableRawBufferPointer {
        if buffer.count < byteCount {
            buffer.deallocate()
            buffer = .allocate(byteCount: byteCount, alignment: 64)
        }
        return UnsafeMutableRawBufferPointer(rebasing: buffer[..<byteCount])
    }
}
