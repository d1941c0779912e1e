public import CUDA
import Synchronization

/// Memory on the GPU that tensors share: it goes when the last of them does, behind the work of its stream.
public final class DeviceStorage: Sendable {
    public let region: DeviceRegion
    /// The position of the GPU.
    public let ordinal: Int

    private let buffer: DeviceBuffer?
    private let writes = Atomic<Int>(0)

    /// Memory that this object owns.
    init(_ buffer: consuming DeviceBuffer) {
        region = buffer.region
        ordinal = buffer.context.device.ordinal
        self.buffer = consume buffer
    }

    /// Memory that someone else owns and keeps alive.
    init(borrowing region: DeviceRegion, ordinal: Int) {
        self.region = region
        self.ordinal = ordinal
        buffer = nil
    }

    /// How often the memory was written through this library, which is how a layer learns that its weights changed.
    public var version: Int { writes.load(ordering: .acquiring) }

    /// To be called by whoever writes the memory by other means, such as a kernel of one's own.
    public func markWritten() { writes.wrappingAdd(1, ordering: .acquiringAndReleasing) }
}
