/// Order statistics of floats without sorting them: numbers are counted by the upper and then by the lower half of their bits.
enum Selection {
    /// An integer that orders as the float does; the two zeros are one.
    @inline(__always)
    static func key(of value: Float) -> UInt32 {
        let bits = (value + 0).bitPattern
        return bits ^ (UInt32(bitPattern: Int32(bitPattern: bits) >> 31) | 0x8000_0000)
    }

    /// The float of a key.
    static func value(ofKey key: UInt32) -> Float {
        Float(bitPattern: key >> 31 == 1 ? key ^ 0x8000_0000 : ~key)
    }

    static func largest(in values: [Float]) -> Float {
        var largest = -Float.infinity
        for value in values where value > largest { largest = value }
        return largest
    }

    /// Indices of the `count` largest values, largest first, lower index first among equals.
    static func largest(_ count: Int, in values: [Float]) -> [Int] {
        guard count > 0, !values.isEmpty else { return [] }
        let bound = value(rank: min(count, values.count), in: values)
        let near = values.indices.filter { values[$0] >= bound }
        return Array(near.sorted { (values[$1], $0) < (values[$0], $1) }.prefix(count))
    }

    /// The value of 1-based `rank` in descending order; the rank must be one of `values`, which hold no NaN.
    static func value(rank: Int, in values: [Float]) -> Float {
        rank <= 256 ? smallestOfLargest(rank, values) : valueByCounting(rank, values)
    }

    /// A heap of the largest so far, its smallest first: quick for few of many.
    private static func smallestOfLargest(_ rank: Int, _ values: [Float]) -> Float {
        var heap: [Float] = []
        heap.reserveCapacity(rank)
        for value in values {
            if heap.count < rank {
                heap.append(value)
                var child = heap.count - 1
                while child > 0, heap[child] < heap[(child - 1) / 2] {
                    heap.swapAt(child, (child - 1) / 2)
                    child = (child - 1) / 2
                }
            } else if value > heap[0] {
                heap[0] = value
                var parent = 0
                while true {
                    let left = 2 * parent + 1
                    guard left < rank else { break }
                    let child = left + 1 < rank && heap[left + 1] < heap[left] ? left + 1 : left
                    guard heap[child] < heap[parent] else { break }
                    heap.swapAt(child, parent)
                    parent = child
                }
            }
        }
        return heap.first ?? -.infinity
    }

    private static func valueByCounting(_ rank: Int, _ values: [Float]) -> Float {
        var left = rank
        /// Takes counts from the highest bucket down until `left` falls into one.
        func bucket(_ counts: [Int]) -> UInt32 {
            for index in counts.indices.reversed() {
                if left <= counts[index] { return UInt32(truncatingIfNeeded: index) }
                left -= counts[index]
            }
            return 0
        }
        var counts = [Int](repeating: 0, count: 1 << 16)
        for value in values { counts[Int(key(of: value) >> 16)] += 1 }
        let upper = bucket(counts)
        counts = [Int](repeating: 0, count: 1 << 16)
        for value in values where key(of: value) >> 16 == upper { counts[Int(key(of: value) & 0xFFFF)] += 1 }
        return value(ofKey: upper << 16 | bucket(counts))
    }
}
