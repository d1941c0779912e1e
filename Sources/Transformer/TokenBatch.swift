/// Several token sequences behind one another, without padding.
///
/// `ids [T]` and `offsets [B + 1]`: sequence s is `ids[offsets[s]..<offsets[s + 1]]`.
public struct TokenBatch: Sendable, Equatable {
    public private(set) var ids: [Int32] = []
    public private(set) var offsets: [Int] = [0]

    public init() {}

    public init(_ sequences: some Sequence<[Int32]>) {
        for sequence in sequences { append(sequence) }
    }

    public mutating func append(_ sequence: [Int32]) {
        ids.append(contentsOf: sequence)
        offsets.append(ids.count)
    }

    /// B
    public var sequenceCount: Int { offsets.count - 1 }
    /// T
    public var tokenCount: Int { ids.count }

    public func length(of sequence: Int) -> Int { offsets[sequence + 1] - offsets[sequence] }
}
