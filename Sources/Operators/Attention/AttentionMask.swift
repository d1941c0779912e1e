/// Which keys a query sees. Positions count in the keys of a sequence; the last query stands at the last key.
public enum AttentionMask: Sendable, Hashable {
    /// All keys of its sequence.
    case full
    /// The keys up to its own position.
    case causal
    /// The last `count` keys up to its own position, itself counted.
    case window(Int)
    /// The keys at most `left` before and `right` behind its position.
    case around(left: Int, right: Int)

    /// Beyond every sequence, and far enough from 2^31 for the kernels' sums.
    private static let unbounded = 1 << 30

    /// Keys before and behind the position that are seen.
    var reach: (left: Int, right: Int) {
        switch self {
        case .full: (Self.unbounded, Self.unbounded)
        case .causal: (Self.unbounded, 0)
        case .window(let count): (min(count - 1, Self.unbounded), 0)
        case .around(let left, let right): (min(left, Self.unbounded), min(right, Self.unbounded))
        }
    }

    func check() throws(OperatorError) {
        switch self {
        case .full, .causal: return
        case .window(let count):
            guard count > 0 else { throw .argument("attention", "the window", expected: "1 and more", actual: "\(count)") }
        case .around(let left, let right):
            guard left >= 0, right >= 0 else {
                throw .argument("attention", "the mask", expected: "0 and more keys on both sides", actual: "\(left) and \(right)")
            }
        }
    }

    /// The keys that the query at a position sees.
    func keys(at position: Int, of count: Int) -> Range<Int> {
        let (left, right) = reach
        let first = max(0, position - left)
        let end = min(count, position + right + 1)
        return first < end ? first..<end : 0..<0
    }
}

/// The sequences that lie one after the other in a ragged batch.
public struct SequenceLengths: Sendable, Hashable {
    /// Queries of each sequence.
    public let queries: [Int]
    /// Keys of each sequence; more than queries where earlier keys come from a cache.
    public let keys: [Int]

    /// Sequences whose queries and keys are the same tokens.
    public init(_ lengths: [Int]) {
        queries = lengths
        keys = lengths
    }

    public init(queries: [Int], keys: [Int]) {
        self.queries = queries
        self.keys = keys
    }

    func check(queryTokens: Int, keyTokens: Int) throws(OperatorError) {
        guard queries.count == keys.count else {
            throw .argument(
                "attention", "the lengths", expected: "as many of keys as of queries", actual: "\(keys.count) and \(queries.count)")
        }
        for (name, lengths, tokens) in [("queries", queries, queryTokens), ("keys", keys, keyTokens)] {
            var sum = 0
            for length in lengths {
                guard length >= 0, length <= tokens - sum else {
                    throw .argument(
                        "attention", "the lengths of \(name)", expected: "numbers from 0 up whose sum is \(tokens)", actual: "\(length) after \(sum)")
                }
                sum += length
            }
            guard sum == tokens else {
                throw .argument("attention", "the lengths of \(name)", expected: "a sum of \(tokens) (tokens)", actual: "\(sum)")
            }
        }
    }
}
