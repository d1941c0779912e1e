import Apus
import Foundation
import Testing

/// The kept tokens against full sorts, and what they are drawn with.
@Suite struct CandidateSetTests {
    /// Rows of many shapes: smooth, peaked, with ties, with tokens that cannot come, all alike.
    private static func row(_ kind: Int, size: Int, _ random: inout RowGenerator) -> [Float] {
        (0..<size).map { index in
            let normal = random.normal()
            switch kind {
            case 0: return normal
            case 1: return normal * 6
            case 2: return (normal * 2).rounded() / 2
            case 3: return index % 3 == 1 ? -.infinity : normal * 2
            case 4: return 0.25
            default: return normal < 0 ? -0.0 : 0
            }
        }
    }

    /// What transformers' warpers keep, by sorting: (ids, weights relative to the likeliest).
    private func reference(_ logits: [Float], temperature: Float, topK: Int, topP: Float, minP: Float) -> [Int] {
        let scaled = logits.map { $0 / temperature }
        var ids = scaled.indices.filter { scaled[$0] > -.infinity }
        if topK > 0, topK < scaled.count {
            let bound = scaled.sorted(by: >)[topK - 1]
            ids = ids.filter { scaled[$0] >= bound }
        }
        let peak = scaled.max() ?? 0
        func weight(_ id: Int) -> Double { Double(Exponential.value(of: scaled[id] - peak)) }
        if topP < 1 {
            let total = ids.reduce(0) { $0 + weight($1) }
            let ascending = ids.sorted { (scaled[$0], $0) < (scaled[$1], $1) }
            var (sum, dropped) = (0.0, 0)
            for id in ascending.dropLast() {
                sum += weight(id)
                if sum > (1 - Double(topP)) * total { break }
                dropped += 1
            }
            ids = ascending.dropFirst(dropped).sorted()
        }
        return minP > 0 ? ids.filter { weight($0) >= Double(minP) } : ids
    }

    @Test(arguments: [1, 2, 3, 31, 256, 257, 1024, 1025, 5000])
    func keepsWhatASortKeeps(_ size: Int) {
        var random = RowGenerator(state: UInt64(size))
        var candidates = CandidateSet()
        for kind in 0..<6 {
            let logits = Self.row(kind, size: size, &random)
            for topK in [0, 1, 2, 40, 300, size] {
                for topP: Float in [1, 0.999, 0.9, 0.5, 0.01] {
                    for minP: Float in [0, 0.05, 1] {
                        let temperature: Float = [1, 0.7, 1.9][(topK + kind) % 3]
                        candidates.fill(logits, temperature: temperature, topK: topK)
                        candidates.keepMass(topP)
                        candidates.drop(below: minP)
                        let expected = reference(logits, temperature: temperature, topK: topK, topP: topP, minP: minP)
                        #expect(candidates.ids == expected, "kind \(kind), top-k \(topK), top-p \(topP), min-p \(minP)")
                    }
                }
            }
        }
    }

    @Test func keepsWhatASortKeepsOfAWholeVocabulary() {
        var random = RowGenerator(state: 3)
        var candidates = CandidateSet()
        for kind in [0, 1, 4] {
            let logits = Self.row(kind, size: 151_936, &random)
            for (topK, topP) in [(0, Float(0.95)), (0, 0.3), (50, 0.9), (20_000, 1)] {
                candidates.fill(logits, temperature: 0.8, topK: topK)
                candidates.keepMass(topP)
                #expect(candidates.ids == reference(logits, temperature: 0.8, topK: topK, topP: topP, minP: 0), "kind \(kind), top-p \(topP)")
            }
        }
    }

    @Test func ofEqualTokensTheHigherIdsStay() {
        var candidates = CandidateSet()
        candidates.fill([1, 1, 1, 1], temperature: 1, topK: 0)
        candidates.keepMass(0.5)
        #expect(candidates.ids == [2, 3])
        // All equal to the last of the top-k stay.
        candidates.fill([0, 2, 1, 1, 0], temperature: 1, topK: 2)
        #expect(candidates.ids == [1, 2, 3])
    }

    @Test func aDrawInvertsTheCumulativeProbabilityInTheOrderOfIds() {
        var candidates = CandidateSet()
        candidates.fill([0, Float(log(2.0)), -.infinity, Float(log(5.0))], temperature: 1, topK: 0)
        #expect([0, 0.12, 0.13, 0.37, 0.38, 0.999_999].map { candidates.pick($0) } == [0, 0, 1, 1, 3, 3])
    }

    @Test func exponentialIsExactToAUnitInTheLastPlace() {
        var worst = 0.0
        for step in 0...870_000 {
            let x = -Float(step) * 1e-4
            let exact = Foundation.exp(Double(x))
            worst = max(worst, abs(Double(Exponential.value(of: x)) - exact) / exact)
        }
        #expect(worst < 1.3e-7, "\(worst)")
        #expect(Exponential.value(of: 0) == 1)
        #expect(Exponential.value(of: -88) == 0)
        #expect(Exponential.value(of: -.infinity) == 0)
    }

    /// The same seed draws the same tokens on every machine and in every version.
    @Test func tokensOfASeedAreFixed() throws {
        let logits = (0..<1000).map { Float(($0 * 7919) % 1009) / 100 }
        var parameters = SamplingParameters()
        parameters.temperature = 0.9
        parameters.topP = 0.97
        parameters.seed = 2026
        var sampler = try Sampler(parameters, vocabularySize: 1000, isAllowed: { $0 < 990 }, prompt: [])
        let ids = try (0..<12).map { _ in
            var copy = logits
            return try sampler.sample(&copy).id
        }
        #expect(ids == Self.fixedTokens)
    }

    private static let fixedTokens = [423, 970, 686, 726, 620, 310, 977, 798, 621, 831, 325, 475]
}

/// Numbers from a seed.
private struct RowGenerator {
    var state: UInt64

    mutating func normal() -> Float {
        var sum: Float = -6
        for _ in 0..<12 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            sum += Float(state >> 40) * 0x1p-24
        }
        return sum
    }
}
