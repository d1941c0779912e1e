import Apus
import Foundation
import JSON
import Testing
import Transformer

@Suite struct SamplerTests {
    private func parameters(_ change: (inout SamplingParameters) -> Void) -> SamplingParameters {
        var parameters = SamplingParameters()
        parameters.temperature = 1
        parameters.seed = 42
        change(&parameters)
        return parameters
    }

    private func sampler(_ parameters: SamplingParameters, size: Int, prompt: [Int] = [], isAllowed: (Int) -> Bool = { _ in true }) throws -> Sampler
    {
        try Sampler(parameters, vocabularySize: size, isAllowed: isAllowed, prompt: prompt)
    }

    /// A device may choose by itself only where the ids that exist come first and the host needs no logits.
    @Test func choicesCanBeHandedOver() throws {
        let greedy = SamplingParameters()
        #expect(try sampler(greedy, size: 10).deviceChoice?.sampleable == 10)
        #expect(try sampler(greedy, size: 10).deviceChoice?.draw == nil)
        #expect(try sampler(greedy, size: 10, isAllowed: { $0 < 7 }).deviceChoice?.sampleable == 7)
        #expect(try sampler(greedy, size: 10, isAllowed: { $0 != 4 }).deviceChoice == nil)
        for change in [{ $0.logitBias = [3: 1] }, { $0.logprobs = 0 }] as [(inout SamplingParameters) -> Void] {
            #expect(try sampler(parameters(change), size: 10).deviceChoice == nil)
        }
        for change in [
            { $0.repetitionPenalty = 1.1 }, { $0.presencePenalty = 0.5 }, { $0.frequencyPenalty = 0.5 },
        ] as [(inout SamplingParameters) -> Void] {
            var changed = greedy
            change(&changed)
            #expect(try sampler(changed, size: 10).deviceChoice?.draw?.hasPenalties == true)
        }
    }

    /// The state that goes with a draw is that behind the tokens so far.
    @Test func drawsGoOnWhereTheSamplerStands() throws {
        var sampler = try sampler(parameters { ($0.seed, $0.repetitionPenalty) = (5, 1.2) }, size: 10, prompt: [1, 2, 2])
        var logits = [Float](repeating: 0, count: 10)
        logits[4] = 100
        #expect(try sampler.sample(&logits).id == 4)
        sampler.note(7)
        sampler.note(4)
        let draw = try #require(sampler.deviceChoice?.draw)
        #expect(draw.uniform(0) == Philox(seed: 5).uniform(3))
        #expect(draw.uniform(2) == Philox(seed: 5).uniform(5))
        let seen: UInt32 = 1 << 31
        #expect(draw.deviceCounts(vocabularySize: 10) == [0, seen, seen, 0, seen | 2, 0, 0, seen | 1, 0, 0])
    }

    /// Known answers of the Random123 library for Philox4x32-10.
    @Test func philoxGivesItsKnownAnswers() {
        #expect(Philox(seed: 0).words(0) == (0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8))
        let numbers = (0..<100_000).map { Philox(seed: 7).uniform(UInt64($0)) }
        #expect(numbers.allSatisfy { $0 >= 0 && $0 < 1 })
        // Five deviations of the mean of so many.
        #expect(abs(numbers.reduce(0, +) / 100_000 - 0.5) < 0.0046)
    }

    /// Frequencies of many draws against the probabilities that transformers' processors leave.
    @Test func drawsFollowTransformersProbabilities() throws {
        let path = try #require(Bundle.module.resourceURL?.appendingPathComponent("Goldens/sampling.json"))
        let cases = try #require(JSONValue(parsing: [UInt8](Data(contentsOf: path))).arrayValue)
        #expect(cases.count == 60)
        for (index, golden) in cases.enumerated() {
            func numbers(_ key: String) -> [Double] { (golden[key]?.arrayValue ?? []).compactMap(\.doubleValue) }
            func number(_ key: String) -> Float { Float(golden[key]?.doubleValue ?? .nan) }
            let logits = numbers("logits").map { Float($0) }
            let expected = numbers("probabilities")
            let draws = 4000
            var counts = [Int](repeating: 0, count: logits.count)
            for draw in 0..<draws {
                // A fresh sampler each time: penalties must not see earlier draws.
                var sampler = try sampler(
                    parameters {
                        $0.temperature = number("temperature")
                        $0.topK = Int(number("top_k"))
                        $0.topP = number("top_p")
                        $0.minP = number("min_p")
                        $0.repetitionPenalty = number("repetition_penalty")
                        $0.seed = UInt64(draw) &* 7919 &+ UInt64(index)
                    }, size: logits.count, prompt: numbers("prompt").map { Int($0) })
                var copy = logits
                counts[try sampler.sample(&copy).id] += 1
            }
            // No token outside the kept set is ever drawn.
            for id in expected.indices where expected[id] == 0 { #expect(counts[id] == 0, "case \(index), token \(id)") }
            #expect(chiSquaredIsPlausible(counts, expected, draws: draws), "case \(index)")
        }
    }

    /// Whether counts could have come from the probabilities: p > 1e-6, by Wilson and Hilferty's cube root of chi-squared.
    private func chiSquaredIsPlausible(_ counts: [Int], _ probabilities: [Double], draws: Int) -> Bool {
        var (statistic, cells, restExpected, restCount) = (0.0, 0, 0.0, 0)
        for (count, probability) in zip(counts, probabilities) {
            let expected = probability * Double(draws)
            // Rare tokens are counted together, as the test wants five in a cell.
            guard expected >= 5 else {
                restExpected += expected
                restCount += count
                continue
            }
            statistic += (Double(count) - expected) * (Double(count) - expected) / expected
            cells += 1
        }
        if restExpected >= 5 {
            statistic += (Double(restCount) - restExpected) * (Double(restCount) - restExpected) / restExpected
            cells += 1
        }
        let freedom = Double(max(cells - 1, 1))
        let spread = 2 / (9 * freedom)
        return (cbrt(statistic / freedom) - (1 - spread)) / spread.squareRoot() < 4.75
    }

    @Test func manyDrawsOfOneSamplerFollowTheRow() throws {
        let logits: [Float] = [0.1, 2, -1, 1.5, 0, 0.7, -3, 1]
        var sampler = try sampler(parameters { _ in }, size: 8)
        var counts = [Int](repeating: 0, count: 8)
        for _ in 0..<100_000 {
            var copy = logits
            counts[try sampler.sample(&copy).id] += 1
        }
        let weights = logits.map { exp(Double($0)) }
        let total = weights.reduce(0, +)
        #expect(chiSquaredIsPlausible(counts, weights.map { $0 / total }, draws: 100_000))
    }

    @Test func temperatureZeroAndNearZeroAreGreedy() throws {
        let logits: [Float] = [1, 5, 5, 4.9]
        for temperature: Float in [0, 1e-6, 1e-30] {
            var sampler = try sampler(parameters { $0.temperature = temperature }, size: 4)
            var copy = logits
            let id = try sampler.sample(&copy).id
            #expect(temperature == 0 ? id == 1 : [1, 2].contains(id))
        }
    }

    @Test func aSeedRepeatsItsTokens() throws {
        func ids(_ seed: UInt64) throws -> [Int] {
            var sampler = try sampler(parameters { $0.seed = seed }, size: 50)
            return try (0..<40).map { _ in
                var logits = [Float](repeating: 0, count: 50)
                return try sampler.sample(&logits).id
            }
        }
        #expect(try ids(1) == ids(1))
        #expect(try ids(1) != ids(2))
    }

    @Test func penaltiesAndBiasChangeTheLogits() throws {
        // Presence and frequency count the answer only: the second draw of the same token costs more.
        var greedy = try sampler(
            parameters {
                $0.temperature = 0
                $0.presencePenalty = 1
                $0.frequencyPenalty = 0.5
            }, size: 3, prompt: [0, 0])
        var chosen: [Int] = []
        for _ in 0..<4 {
            var logits: [Float] = [3, 1.6, 0]
            chosen.append(try greedy.sample(&logits).id)
        }
        // 3, then 3 − 1.5 against 1.6, then 3 − 1.5 against 1.6 − 1.5, then 3 − 2 against 0.1.
        #expect(chosen == [0, 1, 0, 0])

        var biased = try sampler(
            parameters {
                $0.temperature = 0
                $0.logitBias = [2: 10, 0: -10, 99: 1]
            }, size: 3)
        var logits: [Float] = [3, 1, 0]
        #expect(try biased.sample(&logits).id == 2)
    }

    @Test func forbiddenTokensAreNeverChosen() throws {
        var sampler = try sampler(parameters { _ in }, size: 6, isAllowed: { $0 % 2 == 0 })
        for _ in 0..<500 {
            var logits: [Float] = [0, 50, 0, 50, 0, .nan]
            #expect(try sampler.sample(&logits).id % 2 == 0)
        }
    }

    @Test func brokenLogitsAreAnError() throws {
        for bad in [Float.nan, .infinity] {
            var sampler = try sampler(parameters { _ in }, size: 3)
            var logits = [0, bad, 1]
            let error = #expect(throws: ApusError.self) { try sampler.sample(&logits) }
            #expect(error?.code == .nonFiniteLogits)
        }
        var sampler = try sampler(parameters { _ in }, size: 2)
        var logits: [Float] = [-.infinity, -.infinity]
        #expect(throws: ApusError.self) { try sampler.sample(&logits) }
    }

    @Test func logprobsAreThoseOfTheModelsOwnLogits() throws {
        var sampler = try sampler(
            parameters {
                $0.temperature = 0
                $0.logprobs = 2
                $0.logitBias = [2: 100]
            }, size: 3)
        var logits: [Float] = [1, 2, 0]
        let token = try sampler.sample(&logits)
        let sum = log(exp(1.0) + exp(2.0) + exp(0.0))
        #expect(token.id == 2)
        #expect(abs(Double(token.logprob ?? 0) + sum) < 1e-5)
        #expect(token.topLogprobs.map(\.id) == [1, 0])
        #expect(abs(Double(token.topLogprobs[0].logprob) - (2 - sum)) < 1e-5)
    }

    @Test func parametersOutsideTheirRangeAreNamed() {
        let faults: [(String, (inout SamplingParameters) -> Void)] = [
            ("temperature", { $0.temperature = -1 }), ("temperature", { $0.temperature = .nan }), ("top_p", { $0.topP = 0 }),
            ("top_p", { $0.topP = 1.5 }), ("min_p", { $0.minP = 2 }), ("top_k", { $0.topK = -1 }), ("logprobs", { $0.logprobs = 21 }),
            ("repetition_penalty", { $0.repetitionPenalty = 0 }), ("presence_penalty", { $0.presencePenalty = 3 }),
            ("frequency_penalty", { $0.frequencyPenalty = -3 }), ("logit_bias", { $0.logitBias = [1: 101] }),
        ]
        for (name, change) in faults {
            let error = #expect(throws: ApusError.self) { try parameters(change).validate() }
            #expect(error?.code == .invalidParameter)
            #expect(error?.message.contains(name) == true)
        }
    }
}
