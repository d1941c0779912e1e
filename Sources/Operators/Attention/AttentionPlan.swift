import CUDA
import Synchronization
import Tensors

/// The tiles of an attention on Hopper, dealt to the blocks of the grid.
package struct AttentionPlan {
    /// Six numbers a tile: first query, end of the queries, first key, number of keys, position of the first query, key head.
    package private(set) var tiles: [Int32] = []
    /// Where each block's tiles start, and the end.
    package private(set) var starts: [Int32] = [0]

    var blockCount: Int { starts.count - 1 }

    private struct Tile {
        let cost: Double
        let numbers: (Int32, Int32, Int32, Int32, Int32, Int32)
    }

    /// Long sequences first and late positions first, key heads innermost, so that neighbours share keys in L2; each tile goes to the block with the
    /// least to do so far.
    ///
    /// - Parameter range: Only sequences with such a number of keys.
    package init(_ problem: AttentionProblem, tokensPerTile: Int, keysPerBlock: Int, blocks: Int, range: Range<Int> = 0..<Int.max) {
        var loads = BlockLoads(max(1, blocks))
        var lists = [[Int32]](repeating: [], count: max(1, blocks))
        for tile in Self.order(problem, tokensPerTile, keysPerBlock, range) {
            let (a, b, c, d, e, f) = tile.numbers
            lists[loads.deal(tile.cost)] += [a, b, c, d, e, f]
        }
        for list in lists where !list.isEmpty {
            tiles += list
            starts.append(Int32(tiles.count / 6))
        }
    }

    private static func order(
        _ problem: AttentionProblem, _ tokensPerTile: Int, _ keysPerBlock: Int, _ range: Range<Int>
    ) -> [Tile] {
        // Tiles of sequences whose keys and values fit L2 together are ordered among each other, the heaviest first.
        let cacheByteCount = 24 << 20
        let tokenByteCount = 2 * problem.keyHeads * problem.head * problem.dtype.byteCount
        var tiles: [Tile] = []
        var group: [Tile] = []
        var held = 0
        func flush() {
            // The index keeps equals in their order, which `sort` does not promise.
            tiles += group.enumerated().sorted { ($1.element.cost, $0.offset) < ($0.element.cost, $1.offset) }.map(\.element)
            group.removeAll(keepingCapacity: true)
            held = 0
        }
        for sequence in sequences(problem) where range.contains(sequence.keys) {
            if held > 0, held + sequence.keys * tokenByteCount > cacheByteCount { flush() }
            held += sequence.keys * tokenByteCount
            // From the end, so that a tile that is not full is the one with the fewest keys.
            for last in stride(from: sequence.queries, to: 0, by: -tokensPerTile) {
                let first = max(0, last - tokensPerTile)
                let position = first + sequence.keys - sequence.queries
                let lastPosition = position + last - first - 1
                let begin = max(0, position - problem.mask.reach.left)
                let end = min(sequence.keys, lastPosition + problem.mask.reach.right + 1)
                let steps = end <= begin ? 0 : (end - 1) / keysPerBlock - begin / keysPerBlock + 1
                for head in 0..<problem.keyHeads {
                    let numbers = (
                        Int32(sequence.firstQuery + first), Int32(sequence.firstQuery + last), Int32(sequence.firstKey),
                        Int32(sequence.keys), Int32(position), Int32(head)
                    )
                    // What a tile costs besides its steps is about two of them.
                    group.append(Tile(cost: Double(steps) + 2, numbers: numbers))
                }
            }
        }
        flush()
        return tiles
    }

    private struct Sequence {
        let queries: Int
        let keys: Int
        let firstQuery: Int
        let firstKey: Int
    }

    /// The longest first.
    private static func sequences(_ problem: AttentionProblem) -> [Sequence] {
        var sequences: [Sequence] = []
        var first = (query: 0, key: 0)
        for (queries, keys) in zip(problem.lengths.queries, problem.lengths.keys) {
            sequences.append(Sequence(queries: queries, keys: keys, firstQuery: first.query, firstKey: first.key))
            first.query += queries
            first.key += keys
        }
        return sequences.enumerated().sorted { ($1.element.keys, $0.offset) < ($0.element.keys, $1.offset) }.map(\.element)
    }
}

/// Which block has the least to do: a binary heap of loads, the lower block first among equals.
private struct BlockLoads {
    private var heap: [(load: Double, block: Int)]

    init(_ blocks: Int) { heap = (0..<blocks).map { (0, $0) } }

    /// Gives the block with the least to do some more, and says which it is.
    mutating func deal(_ cost: Double) -> Int {
        let block = heap[0].block
        heap[0].load += cost
        var index = 0
        while true {
            var least = index
            for child in [2 * index + 1, 2 * index + 2] where child < heap.count && heap[child] < heap[least] { least = child }
            if least == index { return block }
            heap.swapAt(index, least)
            index = least
        }
    }
}

/// The plans that were made last, with their tables on the GPU: layers of a model ask for the same one again and again.
final class AttentionPlanCache: Sendable {
    struct Key: Hashable {
        let lengths: SequenceLengths
        let mask: AttentionMask
        let keyHeads: Int
        let head: Int
        let tokensPerTile: Int
        let keysPerBlock: Int
        let blocks: Int
        let range: Range<Int>
    }

    struct Tables: Sendable {
        let tiles: DeviceTensor
        let starts: DeviceTensor
        let blockCount: Int
    }

    private static let capacity = 16
    private let entries = Mutex<[(key: Key, tables: Tables)]>([])

    func tables(
        _ key: Key, _ make: () throws(OperatorError) -> Tables
    ) throws(OperatorError) -> Tables {
        if let found = entries.withLock({ $0.first { $0.key == key }?.tables }) { return found }
        let tables = try make()
        entries.withLock { entries in
            if entries.count >= Self.capacity { entries.removeFirst() }
            entries.append((key, tables))
        }
        return tables
    }
}
