import Operators

/// What a pass computes: rows of one or more sequences behind one another, and where their keys and values lie.
struct DevicePass {
    let ids: DeviceTensor  // [T] int32
    /// Position of every row in its sequence.
    let positions: DeviceTensor  // [T] int32
    /// Positions that the rotary tables must cover.
    let positionCount: Int
    let lengths: SequenceLengths
    /// Keys and values of a sequence that grows; without it they are those of the rows themselves.
    var cache: DeviceKeyValueCache?

    var rowCount: Int { ids.shape[0] }
}

/// Groups of whole sequences that pass through all layers together: as many as fit `limit` rows, a longer sequence by itself.
///
/// Activations of such a group stay in L2 from kernel to kernel, and the memory of a pass is bounded by the group and not by the batch.
package struct SequenceGroups: Equatable {
    package let ranges: [Range<Int>]

    /// - Parameter offsets: [S + 1], where each sequence starts, and the end.
    package init(offsets: [Int], limit: Int) {
        var ranges: [Range<Int>] = []
        var start = 0
        for sequence in 0..<offsets.count - 1 where offsets[sequence + 1] - offsets[start] > limit {
            if sequence > start { ranges.append(start..<sequence) }
            start = sequence
        }
        if start < offsets.count - 1 { ranges.append(start..<offsets.count - 1) }
        self.ranges = ranges
    }
}
