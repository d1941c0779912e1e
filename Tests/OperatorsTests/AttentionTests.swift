import Foundation
import Operators
import Tensors
import Testing

@Suite struct AttentionTests {
    @Test(arguments: [("full", AttentionMask.full), ("causal", .causal), ("window", .window(4))])
    func raggedSequences(name: String, mask: AttentionMask) throws {
        let (q, k, v) = (try Goldens.tensor("attention.q"), try Goldens.tensor("attention.k"), try Goldens.tensor("attention.v"))
        let o = try CPUReference.attention(q, k, v, lengths: SequenceLengths([1, 9, 6]), mask: mask)
        try expect(o, equals: Goldens.tensor("attention.\(name)"))
        // Forgetting where sequences end is seen.
        let joined = try CPUReference.attention(q, k, v, mask: mask)
        #expect(try !Comparison(joined, Goldens.tensor("attention.\(name)"), Tolerance(absolute: 0.05, relative: 0.05)).passes)
    }

    private func rows(_ tensor: HostTensor, _ range: Range<Int>) throws -> HostTensor {
        let row = tensor.shape[1] * tensor.shape[2]
        let values = try tensor.float32()[range.lowerBound * row..<range.upperBound * row]
        return try HostTensor(Array(values), shape: [range.count] + tensor.shape[1...], as: tensor.dtype)
    }

    @Test func queriesBehindACache() throws {
        let (q, k, v) = (try Goldens.tensor("attention.q"), try Goldens.tensor("attention.k"), try Goldens.tensor("attention.v"))
        let o = try CPUReference.attention(
            rows(q, 7..<10), rows(k, 1..<10), rows(v, 1..<10), lengths: SequenceLengths(queries: [3], keys: [9]), scale: 0.1)
        try expect(o, equals: Goldens.tensor("attention.cached"))
    }

    @Test func aBatchIsSequencesOfOneLength() throws {
        let (q, kv) = (try HostTensor.ramp([3, 5, 4, 8]), try HostTensor.ramp([3, 5, 2, 8], step: 0.1))
        func flat(_ tensor: HostTensor) throws -> HostTensor {
            try HostTensor(dtype: tensor.dtype, shape: [15] + tensor.shape[2...], data: tensor.data)
        }
        let batched = try CPUReference.attention(q, kv, kv)
        let ragged = try CPUReference.attention(flat(q), flat(kv), flat(kv), lengths: SequenceLengths([5, 5, 5]))
        #expect(batched.shape == [3, 5, 4, 8])
        #expect(batched.bytes == ragged.bytes)
    }

    @Test func aQueryThatSeesNoKeyGetsZeros() throws {
        let (q, kv) = (try HostTensor.ramp([3, 1, 4]), try HostTensor.ramp([1, 1, 4]))
        let o = try CPUReference.attention(q, kv, kv, lengths: SequenceLengths(queries: [3], keys: [1]))
        #expect(try Array(o.float32().prefix(8)) == [Float](repeating: 0, count: 8))
        #expect(try Array(o.float32().suffix(4)) == kv.float32())
    }

    @Test func aNaNReachesOnlyThoseWhoSeeIt() throws {
        var values = try HostTensor.ramp([6, 1, 4]).float32()
        values[4 * 4] = .nan
        let v = try HostTensor(values, shape: [6, 1, 4])
        let q = try HostTensor.ramp([6, 1, 4])
        let o = try CPUReference.attention(q, q, v, lengths: SequenceLengths([5, 1])).float32()
        for (index, number) in o.enumerated() { #expect(number.isNaN == (index == 16), "element \(index)") }
    }

    /// Every query of every key head stands in exactly one tile, and the blocks' loads are even.
    @Test(arguments: [SequenceLengths([1]), SequenceLengths([513, 31, 0, 2048, 1, 1]), SequenceLengths(queries: [5, 33], keys: [129, 40])])
    func tilesCoverEveryQueryOnce(lengths: SequenceLengths) throws {
        let (queries, keys) = (lengths.queries.reduce(0, +), lengths.keys.reduce(0, +))
        let q = TensorDescription(.bfloat16, [queries, 6, 64], on: .device(0))
        let k = TensorDescription(.bfloat16, [keys, 3, 64], on: .device(0))
        let problem = try AttentionProblem(q, k, k, lengths: lengths, mask: .causal, scale: nil, on: .device(0))
        let plan = AttentionPlan(problem, tokensPerTile: 64, keysPerBlock: 128, blocks: 132)
        var seen = [Int](repeating: 0, count: queries * 3)
        let sequenceStarts = lengths.queries.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1) }
        #expect(Int(plan.starts[plan.starts.count - 1]) * 6 == plan.tiles.count)
        for tile in stride(from: 0, to: plan.tiles.count, by: 6) {
            let (first, end, head) = (Int(plan.tiles[tile]), Int(plan.tiles[tile + 1]), Int(plan.tiles[tile + 5]))
            for query in first..<min(first + 64, end) { seen[query * 3 + head] += 1 }
            // A tile that is not full holds the first queries of its sequence, which see the fewest keys.
            #expect(end - first == 64 || (end - first < 64 && sequenceStarts.contains(first)))
        }
        #expect(seen.allSatisfy { $0 == 1 })
        #expect(zip(plan.starts, plan.starts.dropFirst()).allSatisfy { $0 < $1 })
        #expect(plan.starts.count - 1 <= 132)
    }

    /// A sequence's form is that of its own length, and the launches for all forms cover every query once.
    @Test(arguments: [64, 128, 256]) func aSequencesFormDoesNotDependOnTheOthers(head: Int) throws {
        func problem(_ lengths: [Int]) throws -> AttentionProblem {
            let tokens = lengths.reduce(0, +)
            let q = TensorDescription(.bfloat16, [tokens, 4, head], on: .device(0))
            let k = TensorDescription(.bfloat16, [tokens, 1, head], on: .device(0))
            return try AttentionProblem(q, k, k, lengths: SequenceLengths(lengths), mask: .causal, scale: nil, on: .device(0))
        }
        let lengths = [1, 256, 257, 512, 513, 1023, 1024, 4096, 0, 31]
        let mixed = try problem(lengths)
        let choices = HopperAttentionVariant.choices(mixed, isInvariant: true)
        for length in lengths {
            let alone = try HopperAttentionVariant.choices(problem([length]), isInvariant: true)
            #expect(alone.count == 1)
            #expect(choices.filter { $0.keys.contains(length) }.map(\.variant) == alone.map(\.variant), "\(length) keys")
        }
        var covered = [Int](repeating: 0, count: lengths.reduce(0, +))
        for choice in choices {
            let plan = AttentionPlan(
                mixed, tokensPerTile: choice.variant.tokensPerTile, keysPerBlock: choice.variant.keys, blocks: 132, range: choice.keys)
            for tile in stride(from: 0, to: plan.tiles.count, by: 6) {
                let (first, end) = (Int(plan.tiles[tile]), Int(plan.tiles[tile + 1]))
                for query in first..<min(first + choice.variant.tokensPerTile, end) { covered[query] += 1 }
            }
        }
        #expect(covered.allSatisfy { $0 == 1 })
        #expect(HopperAttentionVariant.choices(mixed, isInvariant: false).count == 1)
    }

    /// Sequences of two tiles share them between two blocks, unless the second one would often be idle.
    @Test func shortSequencesTakePairsOfTiles() throws {
        func tokensPerTile(_ lengths: [Int], isInvariant: Bool = false) throws -> Int {
            let tokens = lengths.reduce(0, +)
            let q = TensorDescription(.bfloat16, [tokens, 4, 128], on: .device(0))
            let k = TensorDescription(.bfloat16, [tokens, 2, 128], on: .device(0))
            let problem = try AttentionProblem(q, k, k, lengths: SequenceLengths(lengths), mask: .causal, scale: nil, on: .device(0))
            return HopperAttentionVariant.choices(problem, isInvariant: isInvariant)[0].variant.tokensPerTile
        }
        #expect(try tokensPerTile([128, 128, 100]) == 128)
        #expect(try tokensPerTile([128, 64]) == 64)
        #expect(try tokensPerTile([129]) == 64)
        #expect(try tokensPerTile([128], isInvariant: true) == 64)
    }
}
