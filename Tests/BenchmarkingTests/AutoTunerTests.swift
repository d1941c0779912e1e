import Benchmarking
import Operators
import Tensors
import Testing

/// The tuner against an operator that is made up: no GPU.
@Suite struct AutoTunerTests {
    private static let key = TuningKey(operation: "rmsNorm", inputType: .bfloat16, outputType: .bfloat16, sizes: [640, 0])

    /// An operator whose time and faults depend on one value.
    private final class Operator: TuningSubject {
        let times: [Int: Double]
        let wrong: Set<Int>
        let failing: Set<Int>
        private(set) var timed: [Int] = []

        init(_ times: [Int: Double], wrong: Set<Int> = [], failing: Set<Int> = []) {
            self.times = times
            self.wrong = wrong
            self.failing = failing
        }

        func check(_ values: [String: Int]) throws -> BenchmarkCheck {
            let lanes = values["lanes"] ?? 0
            if failing.contains(lanes) { throw MetricsError(description: "it does not compile") }
            return wrong.contains(lanes) ? .failed("7 of 9 samples") : .passed("9 samples")
        }

        func seconds(_ values: [String: Int]) throws -> Double {
            timed.append(values["lanes"] ?? 0)
            return times[values["lanes"] ?? 0] ?? .nan
        }
    }

    private func tune(_ subject: Operator) throws -> AutoTuner.Result {
        try AutoTuner(subject).tune(Self.key, standard: ["lanes": 32], candidates: [8, 16, 32, 64, 128].map { ["lanes": $0] })
    }

    @Test func theFastestRightOneWins() throws {
        let result = try tune(Operator([32: 10e-6, 8: 20e-6, 16: 9e-6, 64: 7e-6, 128: 8e-6]))
        #expect(result.choice.values == ["lanes": 64] && result.choice.seconds == 7e-6 && result.choice.standardSeconds == 10e-6)
        #expect(result.trials.count == 5 && result.rejected.isEmpty && !result.isStandard)
        #expect(result.combinationCount == OperatorTuning.space("rmsNorm").reduce(1) { $0 * $1.values.count })
    }

    /// The point of it: a combination that is fastest and wrong.
    @Test func aPlantedWrongOneIsRejectedAndNeverTimed() throws {
        let subject = Operator([32: 10e-6, 8: 20e-6, 16: 9e-6, 64: 1e-6, 128: 8e-6], wrong: [64])
        let result = try tune(subject)
        #expect(result.choice.values == ["lanes": 128])
        #expect(!subject.timed.contains(64))
        let rejected = try #require(result.rejected.first)
        #expect(result.rejected.count == 1 && rejected.values == ["lanes": 64] && rejected.reason == "wrong: 7 of 9 samples")
    }

    @Test func failuresAreListedWithTheirReasons() throws {
        let result = try tune(Operator([32: 10e-6, 16: 9e-6, 64: -1, 128: 8e-6], failing: [8]))
        #expect(result.rejected.map(\.values) == [["lanes": 8], ["lanes": 64]])
        #expect(result.rejected[0].reason == "it does not compile" && result.rejected[1].reason.contains("-1"))
    }

    @Test func noiseDoesNotUnseatTheStandardChoice() throws {
        let result = try tune(Operator([32: 10e-6, 8: 20e-6, 16: 9.95e-6, 64: 12e-6, 128: 11e-6]))
        #expect(result.isStandard && result.choice.seconds == 10e-6)
    }

    @Test func aWrongStandardChoiceIsAnError() {
        #expect(throws: BenchmarkReportError.self) { try tune(Operator([32: 10e-6, 16: 9e-6], wrong: [32])) }
    }
}
