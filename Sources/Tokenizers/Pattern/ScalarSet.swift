/// A class of scalars in a pattern, such as `[^\s\p{L}\p{N}]`: a bit map for ASCII, kinds and ranges for the rest.
struct ScalarSet: Sendable, Equatable {
    private var kinds: UInt64 = 0
    /// Sorted and disjoint once ``finish()`` has run.
    private var ranges: [ClosedRange<UInt32>] = []
    private var isNegated = false
    private var asciiLow: UInt64 = 0
    private var asciiHigh: UInt64 = 0

    /// The empty set.
    init() {}

    init(kinds: UInt64) {
        self.kinds = kinds
        finish()
    }

    init(_ scalar: UInt32) {
        ranges = [scalar...scalar]
        finish()
    }

    init(ranges: [ClosedRange<UInt32>], negated: Bool = false) {
        self.ranges = ranges
        isNegated = negated
        finish()
    }

    @inline(__always)
    func containsASCII(_ byte: UInt8) -> Bool {
        (byte < 64 ? asciiLow >> UInt64(byte) : asciiHigh >> UInt64(byte & 63)) & 1 != 0
    }

    @inline(__always)
    func contains(_ scalar: UInt32, _ table: ScalarKinds) -> Bool {
        scalar < 0x80 ? containsASCII(UInt8(truncatingIfNeeded: scalar)) : containsBeyondASCII(scalar, table)
    }

    @inline(__always)
    func containsBeyondASCII(_ scalar: UInt32, _ table: ScalarKinds) -> Bool {
        if kinds >> UInt64(table.kind(of: scalar)) & 1 != 0 { return !isNegated }
        if ranges.isEmpty { return isNegated }
        return isInRanges(scalar) != isNegated
    }

    /// True when no scalar above ASCII is in the set.
    var isASCIIOnly: Bool { !isNegated && kinds == 0 && (ranges.last?.upperBound ?? 0) < 0x80 }

    /// The set's only scalar, where it is one that was spelled out.
    var singleScalar: UInt32? {
        guard !isNegated, kinds == 0, ranges.count == 1, ranges[0].lowerBound == ranges[0].upperBound else { return nil }
        return ranges[0].lowerBound
    }

    /// ASCII members as two words.
    var ascii: (low: UInt64, high: UInt64) { (asciiLow, asciiHigh) }

    /// The set without its ranges, for programs that keep those of all their sets in one array.
    var compact: (low: UInt64, high: UInt64, kinds: UInt64, isNegated: Bool, ranges: [ClosedRange<UInt32>]) {
        (asciiLow, asciiHigh, kinds, isNegated, ranges)
    }

    private func isInRanges(_ scalar: UInt32) -> Bool {
        var low = 0
        var high = ranges.count
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound < scalar { low = middle + 1 } else { high = middle }
        }
        return low < ranges.count && ranges[low].lowerBound <= scalar
    }

    var ownCopy: ScalarSet {
        var copy = self
        copy.ranges = ranges.ownCopy
        return copy
    }

    // MARK: Building

    mutating func insert(_ range: ClosedRange<UInt32>) { ranges.append(range) }

    mutating func insert(kinds mask: UInt64) { kinds |= mask }

    mutating func negate() {
        isNegated.toggle()
        finish()
    }

    /// Adds another set's members; false where the union cannot be written as kinds and ranges.
    mutating func formUnion(_ other: ScalarSet) -> Bool {
        if !other.isNegated {
            kinds |= other.kinds
            ranges += other.ranges
        } else if other.ranges.isEmpty {
            kinds |= ~other.kinds
        } else if other.kinds == 0 {
            var next: UInt32 = 0
            for range in other.ranges {
                if range.lowerBound > next { ranges.append(next...range.lowerBound - 1) }
                next = range.upperBound + 1
            }
            if next < UnicodeTables.scalarLimit { ranges.append(next...UnicodeTables.scalarLimit - 1) }
        } else {
            return false
        }
        return true
    }

    /// Sorts the ranges and computes the ASCII map; must be called after the last insertion.
    mutating func finish() {
        var merged: [ClosedRange<UInt32>] = []
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = merged.last, range.lowerBound <= last.upperBound + 1 {
                merged[merged.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
            } else {
                merged.append(range)
            }
        }
        ranges = merged
        asciiLow = 0
        asciiHigh = 0
        for scalar in UInt32(0)..<128 where containsBeyondASCII(scalar, .shared) {
            if scalar < 64 { asciiLow |= 1 << UInt64(scalar) } else { asciiHigh |= 1 << UInt64(scalar - 64) }
        }
    }
}
