import CUDA
import Operators
import Tensors

extension CUDAExecutor {
    public func encode(_ batch: TokenBatch, head: EncoderHead) throws -> [Float] { try startEncoding(batch, head: head).wait() }

    /// Puts the whole batch into the stream and returns: the vectors come with ``EncodingTask/wait()``.
    public func startEncoding(_ batch: TokenBatch, head: EncoderHead) throws -> EncodingTask {
        try head.validate(hiddenSize: spec.hiddenSize)
        try validate(batch)
        guard batch.tokenCount > 0 else { return EncodingTask { [] } }
        let inputs = EncodeInputs(batch, groupRows: groupRows)
        let slot = try slots.take(inputs: inputs.values)
        let width = head.dimensions ?? head.fullDimension(hiddenSize: spec.hiddenSize)
        let pending = PendingEncoding(slot: slot, slots: slots, sequences: batch.sequenceCount, width: width)
        try withSpace(rows: inputs.largestGroup) { space in
            try context.stream.wait(for: slot.uploaded)
            let pooled = try context.tensor(.float32, [batch.sequenceCount, spec.hiddenSize])
            for group in inputs.groups {
                let part = try space.prefix(group.rows.count)
                try run(try inputs.pass(group, slot.inputs), part, finalNorm: false)
                try rowKernels.pool(
                    part.x, offsets: try inputs.offsets(group, slot.inputs), norm: weights.finalNorm, pooling: head.pooling,
                    into: pooled.slice(0, group.sequences))
            }
            let finished = try denseLayers.apply(head.dense, to: pooled)
            let vectors = try context.tensor(.float32, [batch.sequenceCount, width])
            try rowKernels.normalize(finished, isUnit: head.normalizes, into: vectors)
            try slot.download(vectors, on: context.stream)
        }
        return EncodingTask { try pending.wait() }
    }

    /// Hands out the residual stream `[T, C]` behind each layer, for comparing executors.
    package func hiddenStates(_ batch: TokenBatch, eachLayer body: (_ layer: Int, _ hidden: [Float]) throws -> Void) throws {
        try validate(batch)
        let inputs = EncodeInputs(batch, groupRows: .max)
        let slot = try slots.take(inputs: inputs.values)
        defer { slots.giveBack(slot) }
        try withSpace(rows: inputs.largestGroup) { space in
            try context.stream.wait(for: slot.uploaded)
            try run(try inputs.pass(inputs.groups[0], slot.inputs), space, finalNorm: false) { layer in
                try body(layer, self.context.download(space.x).float32())
            }
        }
    }
}

/// The numbers of a batch as they go up: ids, positions, and each group's offsets counted from its own first row.
struct EncodeInputs {
    struct Group: Equatable {
        let sequences: Range<Int>
        let rows: Range<Int>
        let lengths: [Int]
        /// Where its offsets start among the values.
        let offsetsStart: Int
    }

    let values: [Int32]
    let groups: [Group]
    private let tokenCount: Int

    init(_ batch: TokenBatch, groupRows: Int) {
        tokenCount = batch.tokenCount
        var values: [Int32] = []
        values.reserveCapacity(2 * batch.tokenCount + 2 * batch.offsets.count)
        values += batch.ids
        for sequence in 0..<batch.sequenceCount { values += 0..<Int32(batch.length(of: sequence)) }
        var groups: [Group] = []
        for sequences in SequenceGroups(offsets: batch.offsets, limit: groupRows).ranges {
            let rows = batch.offsets[sequences.lowerBound]..<batch.offsets[sequences.upperBound]
            groups.append(
                Group(sequences: sequences, rows: rows, lengths: sequences.map(batch.length(of:)), offsetsStart: values.count))
            values += batch.offsets[sequences.lowerBound...sequences.upperBound].map { Int32($0 - rows.lowerBound) }
        }
        self.values = values
        self.groups = groups
    }

    var largestGroup: Int { groups.map(\.rows.count).max() ?? 0 }

    /// The group's rows as a pass over the uploaded values.
    func pass(_ group: Group, _ uploaded: DeviceTensor) throws -> DevicePass {
        DevicePass(
            ids: try uploaded.slice(0, group.rows),
            positions: try uploaded.slice(0, tokenCount + group.rows.lowerBound..<tokenCount + group.rows.upperBound),
            positionCount: group.lengths.max() ?? 0, lengths: SequenceLengths(group.lengths))
    }

    /// [S + 1] int32
    func offsets(_ group: Group, _ uploaded: DeviceTensor) throws -> DeviceTensor {
        try uploaded.slice(0, group.offsetsStart..<group.offsetsStart + group.sequences.count + 1)
    }
}

/// A batch in the stream. Its slot goes back when its work has ended, whether someone waits for the vectors or not.
private final class PendingEncoding: @unchecked Sendable {
    private var slot: EncodeSlot?
    private let slots: EncodeSlots
    private let sequences: Int
    private let width: Int

    init(slot: EncodeSlot, slots: EncodeSlots, sequences: Int, width: Int) {
        self.slot = slot
        self.slots = slots
        self.sequences = sequences
        self.width = width
    }

    deinit {
        guard let slot else { return }
        // A GPU that is lost says so at the next call.
        try? slot.done.synchronize()
        slots.giveBack(slot)
    }

    func wait() throws -> [Float] {
        guard let slot else { throw TransformerError(.invalidSpec, "the vectors of a batch were asked for twice") }
        let vectors = try slot.results(sequences * width)
        self.slot = nil
        slots.giveBack(slot)
        try vectors.requireFinite(width: width)
        return vectors
    }
}
