/// The ids of words met before: a direct-mapped table of fixed size, which forgets all when its arrays are full.
struct WordCache {
    /// Longer words are not kept.
    static let maximumWordLength = 64

    private struct Slot {
        var hash: UInt64 = 0
        var keyStart: UInt32 = 0
        var keyCount: UInt16 = 0
        var idCount: UInt16 = 0
        var idStart: UInt32 = 0
    }

    private static let slotCount = 1 << 15
    private static let maximumKeyBytes = 1 << 20
    private static let maximumIDs = 1 << 18

    private var slots: [Slot] = []
    private var keys: [UInt8] = []
    private var ids: [Int32] = []
    private let hash = ByteHash()

    func hash(_ bytes: [UInt8], _ range: Range<Int>) -> UInt64 { hash(bytes, range) | 1 }

    /// Appends the word's ids to `output` where they are known. `hash` is that of the word.
    func append(_ bytes: [UInt8], _ range: Range<Int>, hash: UInt64, to output: inout [Int32]) -> Bool {
        guard !slots.isEmpty else { return false }
        let slot = slots[Int(truncatingIfNeeded: hash >> 1) & (Self.slotCount - 1)]
        guard slot.hash == hash, Int(slot.keyCount) == range.count else { return false }
        let start = Int(slot.keyStart)
        var offset = 0
        while offset < range.count {
            if keys[start + offset] != bytes[range.lowerBound + offset] { return false }
            offset += 1
        }
        let first = Int(slot.idStart)
        for index in first..<first + Int(slot.idCount) { output.append(ids[index]) }
        return true
    }

    mutating func insert(_ bytes: [UInt8], _ range: Range<Int>, hash: UInt64, ids newIDs: ArraySlice<Int32>) {
        if slots.isEmpty || keys.count + range.count > Self.maximumKeyBytes || ids.count + newIDs.count > Self.maximumIDs {
            slots = [Slot](repeating: Slot(), count: Self.slotCount)
            keys.removeAll(keepingCapacity: true)
            ids.removeAll(keepingCapacity: true)
        }
        slots[Int(truncatingIfNeeded: hash >> 1) & (Self.slotCount - 1)] = Slot(
            hash: hash, keyStart: UInt32(keys.count), keyCount: UInt16(range.count), idCount: UInt16(newIDs.count), idStart: UInt32(ids.count))
        keys.append(contentsOf: bytes[range])
        ids.append(contentsOf: newIDs)
    }
}
