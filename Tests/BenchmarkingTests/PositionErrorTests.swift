import Benchmarking
import Testing
import Transformer

/// What counts as a wrong token, and which layer is named.
@Suite struct PositionErrorTests {
    @Test func anotherTokenIsWrongWhereTheGapAllowsNoDoubt() {
        let expected: [Float] = [1, 3, 2.9, 0]
        let bounds = PositionBounds(relative: 0.02)
        #expect(bounds.wrong([PositionError(expected, expected)]) == 0)
        #expect(bounds.wrong([PositionError([1, 2.9, 3, 0], expected)]) == 1)
        // The two likeliest are as good as equal.
        #expect(bounds.wrong([PositionError([1, 2.97, 3, 0], [1, 3, 2.96, 0])]) == 0)
        let same = PositionError(expected, expected)
        #expect(same.divergence == 0 && same.relative == 0 && same.largest == 0 && same.mean == 0)
        #expect(abs(same.gap - 0.1) < 1e-6)
        let off = PositionError([1, 3, 2.9, 0.5], expected)
        #expect(off.largest == 0.5 && off.mean == 0.125 && off.divergence > 0)
        #expect(PositionError([.nan, 3, 2.9, 0], expected).divergence.isNaN)
    }

    /// What roundings alone do is allowed for, and no less than without them.
    @Test func boundsFollowTheRoundings() {
        let expected: [Float] = [1, 3, 2.9, 0]
        let fixed = PositionBounds(relative: 0.02)
        #expect(fixed.divergence == 1e-3 && fixed.relative == 0.02 && fixed.gap == 0.05)
        let small = fixed.widened(by: [PositionError([1, 3.0001, 2.9, 0], expected)])
        #expect(small.divergence == 1e-3 && small.relative == 0.02 && small.gap == 0.05)
        let errors = [PositionError([1, 3.5, 2.9, 0], expected), PositionError(expected, expected)]
        #expect(!fixed.holds(errors) && fixed.holds([errors[1]]))
        let large = fixed.widened(by: errors)
        #expect(large.gap == 1 && large.divergence == 4 * errors[0].divergence && large.relative == 2 * errors[0].relative)
        #expect(large.holds(errors))
        // A CPU that computes nothing allows for nothing, and no positions are not right positions.
        for none in [[], [PositionError([.nan, 3, 2.9, 0], expected)]] {
            let bounds = fixed.widened(by: none)
            #expect(bounds.divergence == 1e-3 && bounds.relative == 0.02 && bounds.gap == 0.05)
            #expect(!bounds.holds(none))
        }
        #expect(RoundingReference.cosineBound(0.9999, roundings: 0.99999) == 0.9999)
        #expect(abs(RoundingReference.cosineBound(0.9999, roundings: 0.999) - 0.996) < 1e-12)
        #expect(RoundingReference.cosineBound(0.9999, roundings: .nan) == 0.9999)
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
