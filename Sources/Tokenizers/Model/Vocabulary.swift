/// The model's tokens: their bytes in one array, found by an open-addressing hash table.
///
/// Takes about 20 bytes a token beside the bytes of the tokens themselves.
struct Vocabulary: Sendable {
    private var bytes: [UInt8] = []
    /// Token `index` is `bytes[bounds[index]..<bounds[index + 1]]`.
    private var bounds: [UInt32] = [0]
    /// [index] id
    private var ids: [Int32] = []
    /// Index of a token plus 1, or 0; a power of two of slots, at most two thirds full.
    private var slots: [UInt32] = []
    /// [id] index plus 1, or 0; only when the ids are dense.
    private var indexOfID: [UInt32] = []
    /// (id, index) sorted by id, when they are not.
    private var sparseIDs: [(id: Int32, index: UInt32)] = []
    private let hash = ByteHash()
    /// The longest token in bytes.
    private(set) var maximumLength = 0

    var count: Int { ids.count }

    /// Appends a token whose bytes a reader writes; nothing is checked until ``finish()``.
    mutating func append<Failure: Error>(id: Int32, _ write: (inout [UInt8]) throws(Failure) -> Void) throws(Failure) {
        try write(&bytes)
        bounds.append(UInt32(truncatingIfNeeded: bytes.count))
        ids.append(id)
    }

    /// Appends the next token's bytes; ``append(id:)`` must follow.
    mutating func withBytes<Failure: Error, Result>(_ body: (inout [UInt8]) throws(Failure) -> Result) throws(Failure) -> Result {
        try body(&bytes)
    }

    /// Ends the token whose bytes were appended last.
    mutating func append(id: Int32) {
        bounds.append(UInt32(truncatingIfNeeded: bytes.count))
        ids.append(id)
    }

    enum Fault {
        case duplicateToken(String)
        case duplicateID(Int32, String, String)
    }

    /// Builds the tables. Returns what is wrong with the tokens, if anything.
    mutating func finish() -> Fault? {
        var capacity = 16
        while capacity * 2 < count * 3 { capacity *= 2 }
        slots = [UInt32](repeating: 0, count: capacity)
        for index in 0..<count {
            let range = range(of: index)
            maximumLength = max(maximumLength, range.count)
            var slot = Int(truncatingIfNeeded: hash(bytes, range)) & (capacity - 1)
            while slots[slot] != 0 {
                if equal(Int(slots[slot]) - 1, bytes, range) { return .duplicateToken(string(at: index)) }
                slot = (slot + 1) & (capacity - 1)
            }
            slots[slot] = UInt32(index + 1)
        }
        let highest = Int(ids.max() ?? -1)
        if highest < count * 4 + 1024 {
            indexOfID = [UInt32](repeating: 0, count: highest + 1)
            for (index, id) in ids.enumerated() {
                let known = indexOfID[Int(id)]
                if known != 0 { return .duplicateID(id, string(at: Int(known) - 1), string(at: index)) }
                indexOfID[Int(id)] = UInt32(index + 1)
            }
        } else {
            sparseIDs = ids.enumerated().map { ($0.element, UInt32($0.offset)) }.sorted { $0.0 < $1.0 }
            for (one, other) in zip(sparseIDs, sparseIDs.dropFirst()) where one.id == other.id {
                return .duplicateID(one.id, string(at: Int(one.index)), string(at: Int(other.index)))
            }
        }
        return nil
    }

    private func range(of index: Int) -> Range<Int> { Int(bounds[index])..<Int(bounds[index + 1]) }

    private func string(at index: Int) -> String { String(decoding: bytes[range(of: index)], as: UTF8.self) }

    private func equal(_ index: Int, _ other: [UInt8], _ otherRange: Range<Int>) -> Bool {
        let range = range(of: index)
        guard range.count == otherRange.count else { return false }
        var offset = 0
        while offset < range.count {
            if bytes[range.lowerBound + offset] != other[otherRange.lowerBound + offset] { return false }
            offset += 1
        }
        return true
    }

    // MARK: Look-ups

    /// The id of the token that `text[range]` spells, or -1.
    func id(of text: [UInt8], _ range: Range<Int>) -> Int32 {
        guard range.count <= maximumLength else { return -1 }
        let mask = slots.count - 1
        guard mask >= 0 else { return -1 }
        var slot = Int(truncatingIfNeeded: hash(text, range)) & mask
        while slots[slot] != 0 {
            let index = Int(slots[slot]) - 1
            if equal(index, text, range) { return ids[index] }
            slot = (slot + 1) & mask
        }
        return -1
    }

    func id(of text: [UInt8]) -> Int32 { id(of: text, 0..<text.count) }

    /// The bytes of the token with this id, or nil.
    func bytes(of id: Int32) -> ArraySlice<UInt8>? { index(of: id).map { bytes[range(of: $0)] } }

    private func index(of id: Int32) -> Int? {
        guard id >= 0 else { return nil }
        if !sparseIDs.isEmpty {
            var low = 0
            var high = sparseIDs.count
            while low < high {
                let middle = (low + high) / 2
                if sparseIDs[middle].id < id { low = middle + 1 } else { high = middle }
            }
            return low < sparseIDs.count && sparseIDs[low].id == id ? Int(sparseIDs[low].index) : nil
        }
        guard id < indexOfID.count, indexOfID[Int(id)] != 0 else { return nil }
        return Int(indexOfID[Int(id)]) - 1
    }

    /// The highest id, or -1 in an empty vocabulary.
    var highestID: Int32 { ids.max() ?? -1 }
}
