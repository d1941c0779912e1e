import CUDA
package import Operators

/// What a tuner asks of an operator. A double of it in tests needs no GPU.
package protocol TuningSubject {
    /// Holds the result with these values against the reference.
    func check(_ values: [String: Int]) throws -> BenchmarkCheck
    /// Median seconds of a call.
    func seconds(_ values: [String: Int]) throws -> Double
}

/// Finds the fastest values of an operator's choices for one shape: every combination is held against the reference first, and timed only when it is
/// right.
package struct AutoTuner {
    package struct Trial: Sendable, Equatable {
        package let values: [String: Int]
        /// Nil for a combination that is wrong or failed.
        package let seconds: Double?
        /// Why it was rejected; empty otherwise.
        package let reason: String
    }

    package struct Result: Sendable {
        package let key: TuningKey
        /// All combinations of the space, legal or not.
        package let combinationCount: Int
        /// The standard choice first, then the others in the order of the space.
        package let trials: [Trial]
        package let choice: TunedChoice

        package var rejected: [Trial] { trials.filter { $0.seconds == nil } }
        package var isStandard: Bool { choice.values == trials.first?.values }
    }

    /// How much faster than the standard choice another must be in the final, so that noise does not decide.
    package static let leastGain = 1.01
    private static let finalists = 3
    private static let finalRounds = 3

    private let subject: any TuningSubject

    package init(_ subject: any TuningSubject) { self.subject = subject }

    /// Tries all combinations, then the fastest few and the standard choice again in turn. Throws where the standard choice itself is wrong, and when
    /// the GPU is lost.
    ///
    /// - Parameters:
    ///   - candidates: What to try besides the standard choice.
    ///   - progress: Called after each trial with its number and the count.
    package func tune(
        _ key: TuningKey, standard: [String: Int], candidates: [[String: Int]], progress: (Int, Int, Trial) -> Void = { _, _, _ in }
    ) throws -> Result {
        let all = [standard] + candidates.filter { $0 != standard }
        var trials: [Trial] = []
        for values in all {
            let trial = try attempt(values)
            trials.append(trial)
            progress(trials.count, all.count, trial)
        }
        guard trials[0].seconds != nil else {
            throw BenchmarkReportError(description: "\(key): the operator's own choice is not right: \(trials[0].reason)")
        }
        let fastest = trials.dropFirst().filter { $0.seconds != nil }.sorted { ($0.seconds ?? .infinity) < ($1.seconds ?? .infinity) }
        let choice = try final(key, [standard] + fastest.prefix(Self.finalists).map(\.values))
        let combinations = OperatorTuning.space(key.operation).reduce(1) { $0 * $1.values.count }
        return Result(key: key, combinationCount: combinations, trials: trials, choice: choice)
    }

    private func attempt(_ values: [String: Int]) throws -> Trial {
        do {
            let check = try subject.check(values)
            guard case .passed = check else { return Trial(values: values, seconds: nil, reason: "wrong: \(check.text)") }
            let seconds = try subject.seconds(values)
            guard seconds.isFinite, seconds > 0 else { return Trial(values: values, seconds: nil, reason: "a call took \(seconds) seconds") }
            return Trial(values: values, seconds: seconds, reason: "")
        } catch {
            if (error as? OperatorError)?.cuda?.isFatalToContext == true { throw error }
            return Trial(values: values, seconds: nil, reason: "\(error)")
        }
    }

    /// The standard choice is first; it stays unless another is faster by more than noise.
    private func final(_ key: TuningKey, _ values: [[String: Int]]) throws -> TunedChoice {
        var samples = [[Double]](repeating: [], count: values.count)
        for _ in 0..<Self.finalRounds {
            for index in values.indices { samples[index].append(try subject.seconds(values[index])) }
        }
        let medians = samples.map { $0.sorted()[$0.count / 2] }
        let best = medians.indices.min { medians[$0] < medians[$1] } ?? 0
        let winner = medians[best] * Self.leastGain < medians[0] ? best : 0
        return TunedChoice(key: key, values: values[winner], seconds: medians[winner], standardSeconds: medians[0])
    }
}
