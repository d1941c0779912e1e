import CUDA
import Operators
import Synchronization
import Tensors

/// Places where batches on their way wait: pinned memory for what goes up and comes down, the same on the GPU, and the events between.
///
/// A batch's ids go up in a stream of their own while the batch before is computed.
final class EncodeSlots: Sendable {
    private let context: OperatorContext
    private let uploads: Stream
    private let free = Mutex<[EncodeSlot]>([])

    init(_ context: OperatorContext) throws {
        self.context = context
        uploads = try Stream(context.context)
    }

    /// A slot that nobody uses, with `inputs` in upload.
    func take(inputs: [Int32]) throws -> EncodeSlot {
        let slot = try free.withLock { $0.popLast() } ?? EncodeSlot(context.context)
        try slot.upload(inputs, on: uploads)
        return slot
    }

    func giveBack(_ slot: EncodeSlot) { free.withLock { $0.append(slot) } }
}

/// One batch's place. Used by one batch at a time, and given back when the batch's work has ended.
final class EncodeSlot: @unchecked Sendable {
    private let context: Context
    private var up: PinnedBuffer
    private var down: PinnedBuffer
    private var device: DeviceTensor?
    /// Behind the upload.
    let uploaded: Event
    /// Behind the download.
    let done: Event

    init(_ context: Context) throws {
        self.context = context
        up = try PinnedBuffer(byteCount: 0, in: context)
        down = try PinnedBuffer(byteCount: 0, in: context)
        uploaded = try Event(context, timing: false)
        done = try Event(context, timing: false)
    }

    /// What was uploaded. [n] int32
    var inputs: DeviceTensor {
        get throws {
            guard let device else { throw TransformerError(.invalidSpec, "a batch has no inputs") }
            return device
        }
    }

    fileprivate func upload(_ values: [Int32], on stream: Stream) throws {
        let byteCount = values.count * MemoryLayout<Int32>.stride
        if up.byteCount < byteCount { up = try PinnedBuffer(byteCount: 2 * byteCount, in: context) }
        if (device?.elementCount ?? 0) < values.count {
            device = try DeviceTensor(uninitialized: .int32, shape: [2 * values.count], on: stream)
        }
        try up.store(values)
        try stream.upload(up, to: try inputs.slice(0, 0..<values.count).region)
        try stream.record(uploaded)
    }

    /// Puts the download of a tensor into the stream, and the event behind it.
    func download(_ tensor: DeviceTensor, on stream: Stream) throws {
        let region = tensor.region
        if down.byteCount < region.byteCount { down = try PinnedBuffer(byteCount: 2 * region.byteCount, in: context) }
        try stream.download(region, to: down)
        try stream.record(done)
    }

    /// What was downloaded; waits for it.
    func results(_ count: Int) throws -> [Float] {
        try done.synchronize()
        return try down.load(Float.self, count: count)
    }
}
