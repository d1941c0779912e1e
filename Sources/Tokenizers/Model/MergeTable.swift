/// The merges of a byte-pair model: from two neighbouring ids to the rank of their merge and the id that it gives.
struct MergeTable: Sendable {
    /// Returned for pairs that do not merge; greater than every entry.
    static let none = UInt64.max

    /// left << 32 | right, or all ones where the slot is free.
    private var keys: [UInt64] = []
    /// rank << 32 | merged id
    private var values: [UInt64] = []
    private let hash = ByteHash()
    private(set) var count = 0

    init() { grow(to: 16) }

    @inline(__always)
    private static func key(_ left: Int32, _ right: Int32) -> UInt64 { UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right)) }

    private mutating func grow(to capacity: Int) {
        let oldKeys = keys
        let oldValues = values
        keys = [UInt64](repeating: .max, count: capacity)
        values = [UInt64](repeating: Self.none, count: capacity)
        for (key, value) in zip(oldKeys, oldValues) where key != .max { store(key, value) }
    }

    private mutating func store(_ key: UInt64, _ value: UInt64) {
        let mask = keys.count - 1
        var slot = Int(truncatingIfNeeded: hash(key)) & mask
        while keys[slot] != .max, keys[slot] != key { slot = (slot + 1) & mask }
        if keys[slot] != key { count += 1 }
        keys[slot] = key
        values[slot] = value
    }

    /// Adds a merge; one that stands twice keeps its later rank.
    mutating func insert(_ left: Int32, _ right: Int32, rank: UInt32, merged: Int32) {
        if count * 3 >= keys.count * 2 {
            count = 0
            grow(to: keys.count * 2)
        }
        store(Self.key(left, right), UInt64(rank) << 32 | UInt64(UInt32(bitPattern: merged)))
    }

    /// rank << 32 | merged id, or ``none``. Of two entries the one that merges first is smaller.
    @inline(__always)
    func entry(_ left: Int32, _ right: Int32) -> UInt64 {
        let key = Self.key(left, right)
        let mask = keys.count - 1
        var slot = Int(truncatingIfNeeded: hash(key)) & mask
        while true {
            let found = keys[slot]
            if found == key { return values[slot] }
            if found == .max { return Self.none }
            slot = (slot + 1) & mask
        }
    }

    @inline(__always)
    static func merged(_ entry: UInt64) -> Int32 { Int32(truncatingIfNeeded: entry) }
}
