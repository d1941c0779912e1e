import Benchmarking
import Testing
import Transformer

/// What counts as a wrong token, and which layer is named.
@Suite struct PositionErrorTests {
    @Test func anotherTokenIsWrongWhereTheGapAllowsNoDoubt() {
        let expected: [Float] = [1, 3, 2.9, 0]
        #expect(!PositionError(expected, expected).isWrong)
        #expect(PositionError([1, 2.9, 3, 0], expected).isWrong)
        // The two likeliest are as good as equal.
        #expect(!PositionError([1, 2.97, 3, 0], [1, 3, 2.96, 0]).isWrong)
        let same = PositionError(expected, expected)
        #expect(same.divergence == 0 && same.relative == 0 && same.largest == 0 && same.mean == 0)
        #expect(abs(same.gap - 0.1) < 1e-6)
        let off = PositionError([1, 3, 2.9, 0.5], expected)
        #expect(off.largest == 0.5 && off.mean == 0.125 && off.divergence > 0)
        #expect(PositionError([.nan, 3, 2.9, 0], expected).divergence.isNaN)
    }

    @Test func theWorstLayerIsNamed() throws {
        var worst = WorstPhases()
        worst.note([1, 1], [1, 1], .keys, 0)
        worst.note([1, 2], [1, 1], .keys, 1)
        worst.note([1, 1.5], [1, 1], .keys, 2)
        #expect(try #require(worst.errors[.keys]).layer == 1)
        // No number, and what the reference does not have, are the worst of all.
        worst.note([.nan, 1], [1, 1], .keys, 3)
        worst.note([5, 5], [1, 1], .keys, 4)
        #expect(try #require(worst.errors[.keys]).layer == 3)
        #expect(try #require(worst.errors[.keys]).error.isNaN)
        worst.note([1], nil, .gated, 5)
        #expect(worst.errors[.gated]?.error == .infinity && worst.errors[.values] == nil)
    }
}
