import FoundationEssentials
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// The arrays that one encoding needs, kept from one call to the next, its word cache, and the steps ahead of the model, which no other thread
/// touches.
///
/// Unchecked: ``Pool`` hands a scratch to one encoding at a time.
final class EncodingScratch: @unchecked Sendable {
    var cache = WordCache()
    /// [symbol] id, or -1 once it is merged into the one before it
    var symbols: [Int32] = []
    /// [symbol] the merge entry of the symbol with the next one
    var entries: [UInt64] = []
    /// [symbol] neighbours, for long words
    var next: [Int] = []
    var previous: [Int] = []
    var heap = MergeHeap()
    var mapped: [UInt8] = []
    let normalizer: Normalizer
    let preTokenizer: PreTokenizer

    init(_ normalizer: Normalizer, _ preTokenizer: PreTokenizer) {
        self.normalizer = normalizer.ownCopy
        self.preTokenizer = preTokenizer.ownCopy
    }

    /// Gives back the memory that one huge text took.
    func trim() {
        let limit = 1 << 16
        if symbols.capacity > limit { symbols = [] }
        if entries.capacity > limit { entries = [] }
        if next.capacity > limit { next = [] }
        if previous.capacity > limit { previous = [] }
        if mapped.capacity > limit { mapped = [] }
        heap.trim(to: limit)
    }

    /// Scratches that are not in use: one search a call instead of one a word.
    ///
    /// Each waits in a place of its own, at first that of the thread that had it last, and no thread ever waits for another's: behind one lock 64
    /// processors encode fewer short texts than one does. There are places for more scratches than processors work with.
    final class Pool: Sendable {
        private let places: [Place]
        private let normalizer: Normalizer
        private let preTokenizer: PreTokenizer

        private final class Place: Sendable {
            let scratch = Mutex<EncodingScratch?>(nil)
        }

        init(_ normalizer: Normalizer, _ preTokenizer: PreTokenizer) {
            self.normalizer = normalizer
            self.preTokenizer = preTokenizer
            places = (0..<4 * max(8, ProcessInfo.processInfo.activeProcessorCount)).map { _ in Place() }
        }

        func withScratch<Result>(_ body: (EncodingScratch) -> Result) -> Result {
            let first = Int(UInt(bitPattern: pthread_self().hashValue) % UInt(places.count))
            let scratch = take(near: first) ?? EncodingScratch(normalizer, preTokenizer)
            defer {
                scratch.trim()
                keep(scratch, near: first)
            }
            return body(scratch)
        }

        /// Places that are looked at. Where none of them has a scratch, or room for one, that is made or lost.
        private static let reach = 4

        private func take(near first: Int) -> EncodingScratch? {
            for index in first..<first + Self.reach {
                if let scratch = places[index % places.count].scratch.withLockIfAvailable({ $0.take() }) ?? nil { return scratch }
            }
            return nil
        }

        private func keep(_ scratch: EncodingScratch, near first: Int) {
            for index in first..<first + Self.reach {
                let isKept = places[index % places.count].scratch.withLockIfAvailable { kept in
                    if kept == nil { kept = scratch }
                    return kept === scratch
                }
                if isKept == true { return }
            }
        }
    }
}

/// A binary heap of merges: the lowest rank first, the leftmost of equals first.
struct MergeHeap {
    /// rank << 36 | symbol
    private var items: [UInt64] = []

    private static let positionBits: UInt64 = 36

    @inline(__always)
    static func item(_ entry: UInt64, _ symbol: Int) -> UInt64 { (entry >> 32) << positionBits | UInt64(truncatingIfNeeded: symbol) }

    @inline(__always)
    static func symbol(_ item: UInt64) -> Int { Int(truncatingIfNeeded: item & (1 << positionBits - 1)) }

    @inline(__always)
    static func rank(_ item: UInt64) -> UInt64 { item >> positionBits }

    mutating func removeAll() { items.removeAll(keepingCapacity: true) }

    mutating func trim(to limit: Int) {
        if items.capacity > limit { items = [] }
    }

    /// Appends without keeping the order; ``heapify()`` must follow.
    mutating func appendUnordered(_ item: UInt64) { items.append(item) }

    mutating func heapify() {
        var index = items.count / 4 + 1
        while index > 0 {
            index -= 1
            if index < items.count { sink(index) }
        }
    }

    mutating func insert(_ item: UInt64) {
        items.append(item)
        var index = items.count - 1
        while index > 0 {
            let parent = (index - 1) / 4
            guard items[parent] > item else { break }
            items[index] = items[parent]
            index = parent
        }
        items[index] = item
    }

    mutating func popMinimum() -> UInt64? {
        guard let first = items.first else { return nil }
        let last = items.removeLast()
        if !items.isEmpty {
            items[0] = last
            sink(0)
        }
        return first
    }

    private mutating func sink(_ start: Int) {
        let count = items.count
        let item = items[start]
        var index = start
        while true {
            let firstChild = index * 4 + 1
            guard firstChild < count else { break }
            var child = firstChild
            var smallest = items[firstChild]
            var other = firstChild + 1
            while other < min(firstChild + 4, count) {
                if items[other] < smallest {
                    smallest = items[other]
                    child = other
                }
                other += 1
            }
            guard smallest < item else { break }
            items[index] = smallest
            index = child
        }
        items[index] = item
    }
}
