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
        let finishesHere = DeviceDenseLayers.takes(head.dense)
        let width = finishesHere ? head.dimensions ?? head.fullDimension(hiddenSize: spec.hiddenSize) : spec.hiddenSize
        let pending = PendingEncoding(slot: slot, slots: slots, sequences: batch.sequenceCount, width: width)
        try withSpace(rows: inputs.largestGroup) { space in
            try context.stream.wait(for: slot.uploaded)
            let pooled = try context.tensor(.float32, [batch.sequenceCount, spec.hiddenSize])
            for group in inputs.groups {
                try run(group, inputs, slot, space.prefix(group.rows.count), pooling: head.pooling, into: pooled.slice(0, group.sequences))
                try mark(.pool)
            }
            let vectors = finishesHere ? try context.tensor(.float32, [batch.sequenceCount, width]) : pooled
            if finishesHere {
                try rowKernels.normalize(denseLayers.apply(head.dense, to: pooled), isUnit: head.normalizes, into: vectors)
            }
            try mark(.pool)
            try slot.download(vectors, on: context.stream)
        }
        guard !finishesHere else { return EncodingTask { try pending.wait() } }
        return EncodingTask {
            try ThreadPool(threads: 1).withPool { try head.finish(pending.wait(), width: width, $0) }
        }
    }

    /// Passes a group of sequences through the layers and pools it.
    private func run(
        _ group: EncodeInputs.Group, _ inputs: EncodeInputs, _ slot: EncodeSlot, _ space: PassSpace, pooling: EncoderHead.Pooling,
        into pooled: DeviceTensor
    ) throws {
        let pass = try inputs.pass(group, slot.inputs)
        // With few tokens a text the picked rows are most of them.
        guard pooling == .lastToken, group.rows.count >= 4 * group.sequences.count else {
            try run(pass, space, finalNorm: false)
            return try rowKernels.pool(
                space, offsets: inputs.offsets(group, slot.inputs), norm: weights.finalNorm, pooling: pooling, into: pooled)
        }
        let sums = try run(pass, space, forLast: true, finalNorm: false)
        let picked = try inputs.picked(group, slot.inputs)
        let own = try runLastLayer(pass, picked, space, sums)
        try rowKernels.pool(own, offsets: picked.offsets, norm: weights.finalNorm, pooling: pooling, into: pooled)
    }

    /// Hands out the residual stream `[T, C]` behind each layer, for comparing executors.
    package func hiddenStates(_ batch: TokenBatch, eachLayer body: (_ layer: Int, _ hidden: [Float]) throws -> Void) throws {
        try withPass(batch) { pass, space in
            try run(pass, space, finalNorm: false) { layer in
                try body(layer, self.context.download(self.rowKernels.join(space)).float32())
            }
        }
    }

    /// All rows of a batch as one pass, and the memory for it.
    func withPass(_ batch: TokenBatch, _ body: (DevicePass, PassSpace) throws -> Void) throws {
        try validate(batch)
        let inputs = EncodeInputs(batch, groupRows: .max)
        let slot = try slots.take(inputs: inputs.values)
        defer { slots.giveBack(slot) }
        try withSpace(rows: inputs.largestGroup) { space in
            try context.stream.wait(for: slot.uploaded)
            try body(try inputs.pass(inputs.groups[0], slot.inputs), space)
        }
    }
}

/// The numbers of a batch as they go up: ids and positions, then for each group of S sequences, rows counted from its own first: where each sequence
/// starts and the end [S + 1], the last row of each [S], its position [S], and 0 to S.
package struct EncodeInputs {
    package struct Group: Equatable {
        package let sequences: Range<Int>
        package let rows: Range<Int>
        package let lengths: [Int]
        /// Where its offsets start among the values.
        package let offsetsStart: Int

        package init(sequences: Range<Int>, rows: Range<Int>, lengths: [Int], offsetsStart: Int) {
            self.sequences = sequences
            self.rows = rows
            self.lengths = lengths
            self.offsetsStart = offsetsStart
        }
    }

    package let values: [Int32]
    package let groups: [Group]
    private let tokenCount: Int

    package init(_ batch: TokenBatch, groupRows: Int) {
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
            values += sequences.map { Int32(batch.offsets[$0 + 1] - 1 - rows.lowerBound) }
            values += sequences.map { Int32(batch.length(of: $0) - 1) }
            values += 0...Int32(sequences.count)
        }
        self.values = values
        self.groups = groups
    }

    package var largestGroup: Int { groups.map(\.rows.count).max() ?? 0 }

    /// The group's rows as a pass over the uploaded values.
    func pass(_ group: Group, _ uploaded: DeviceTensor) throws -> DevicePass {
        DevicePass(
            ids: try uploaded.slice(0, group.rows),
            positions: try uploaded.slice(0, tokenCount + group.rows.lowerBound..<tokenCount + group.rows.upperBound),
            positionCount: group.lengths.max() ?? 0, lengths: SequenceLengths(group.lengths))
    }

    func picked(_ group: Group, _ uploaded: DeviceTensor) throws -> PickedRows {
        let count = group.sequences.count
        let first = group.offsetsStart + count + 1
        return PickedRows(
            rows: try uploaded.slice(0, first..<first + count), positions: try uploaded.slice(0, first + count..<first + 2 * count),
            offsets: try uploaded.slice(0, first + 2 * count..<first + 3 * count + 1))
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
