import CUDA
import Dispatch
import Synchronization

/// Holds the operators on a GPU against the CPU reference: random cases with odd sizes, on every path, by the one rule of ``Comparison``.
///
/// The seed fixes every case. Cases run on all cores at once, since the reference costs far more than the GPU does: a hundred of each operator take
/// about a minute, most of it to compile kernels where the cache is empty.
public struct OperatorVerification: Sendable {
    /// One case that did not pass.
    public struct Failure: Sendable {
        /// The case's number, from 0, which with the seed makes it again.
        public let index: Int
        /// Shapes, types and options.
        public let description: String
        /// What was wrong.
        public let message: String
    }

    /// One operator on one path.
    public struct Result: Sendable {
        public let name: String
        public let path: KernelPath
        public let caseCount: Int
        /// Kernels compiled and references computed included.
        public fileprivate(set) var duration = Duration.zero
        public fileprivate(set) var failures: [Failure] = []
        /// Why nothing ran; nil where cases ran.
        public fileprivate(set) var skipReason: String?
        /// The largest over all cases, of elements finite on both sides.
        public fileprivate(set) var maximumAbsoluteError = 0.0
        /// The largest mean of a case.
        public fileprivate(set) var maximumMeanRelativeError = 0.0
        public fileprivate(set) var elementCount = 0
        public fileprivate(set) var violationCount = 0
        /// Every rule that was applied, loosest last.
        public fileprivate(set) var tolerances: [Tolerance] = []

        /// False too where nothing ran.
        public var passes: Bool { failures.isEmpty && skipReason == nil }
    }

    public var seed: UInt64
    public var caseCount: Int
    /// The operators to run, by name; all when empty.
    public var names: [String]
    /// Only this path, and operators with one kernel for all paths; every path when ``KernelPath/automatic``.
    public var path: KernelPath

    public init(seed: UInt64 = 1, caseCount: Int = 100, names: [String] = [], path: KernelPath = .automatic) {
        self.seed = seed
        self.caseCount = caseCount
        self.names = names
        self.path = path
    }

    /// Every operator that can be verified, in the order of the results.
    public static var operatorNames: [String] { VerifiedOperator.all.map(\.name) }

    /// Runs everything and hands out each result when it is there. Throws for a name that is none of ``operatorNames``.
    ///
    /// On a GPU that is not of Hopper's kind its path is skipped, and said to be.
    @discardableResult
    public func run(on context: OperatorContext, report: (Result) -> Void = { _ in }) throws(OperatorError) -> [Result] {
        for name in names where !Self.operatorNames.contains(name) {
            throw .argument(
                "verify", "the operator", expected: "one of \(Self.operatorNames.joined(separator: ", "))", actual: "\"\(name)\"")
        }
        var results: [Result] = []
        for verified in VerifiedOperator.all where names.isEmpty || names.contains(verified.name) {
            for path in verified.paths where self.path == .automatic || path == .automatic || path == self.path {
                var result = Result(name: verified.name, path: path, caseCount: caseCount)
                if path == .hopper, !context.isHopper() {
                    result.skipReason = "\(context.device) has compute capability \(context.device.computeCapability)"
                } else {
                    let start = ContinuousClock.now
                    run(verified, path, context, &result)
                    result.duration = ContinuousClock.now - start
                }
                results.append(result)
                report(result)
            }
        }
        return results
    }

    /// Makes the cases and their references without a GPU, and says how many elements each operator would be held to.
    package func makeCases() throws(OperatorError) -> [(name: String, path: KernelPath, elementCount: Int)] {
        var made: [(name: String, path: KernelPath, elementCount: Int)] = []
        for verified in VerifiedOperator.all where names.isEmpty || names.contains(verified.name) {
            for path in verified.paths {
                var count = 0
                for index in 0..<caseCount {
                    var random = SeededRandom(Self.seed(seed, verified.name, path, index))
                    for expectation in try verified.make(&random, path).expected { count += expectation.values.count }
                }
                made.append((verified.name, path, count))
            }
        }
        return made
    }

    private func run(_ verified: VerifiedOperator, _ path: KernelPath, _ context: OperatorContext, _ result: inout Result) {
        let outcomes = Mutex<[Int: Outcome]>([:])
        DispatchQueue.concurrentPerform(iterations: caseCount) { index in
            let outcome = outcome(verified, path, index, context)
            outcomes.withLock { $0[index] = outcome }
        }
        let finished = outcomes.withLock { $0 }
        for index in 0..<caseCount {
            guard let outcome = finished[index] else { continue }
            result.elementCount += outcome.comparisons.reduce(0) { $0 + $1.count }
            for comparison in outcome.comparisons {
                result.violationCount += comparison.violationCount
                result.maximumAbsoluteError = max(result.maximumAbsoluteError, comparison.maximumAbsoluteError)
                result.maximumMeanRelativeError = max(result.maximumMeanRelativeError, comparison.meanRelativeError)
                if !result.tolerances.contains(comparison.tolerance) { result.tolerances.append(comparison.tolerance) }
            }
            guard let message = outcome.message else { continue }
            result.failures.append(Failure(index: index, description: outcome.description, message: message))
        }
        result.tolerances.sort { ($0.relative, $0.absolute) < ($1.relative, $1.absolute) }
    }

    private struct Outcome: Sendable {
        var description = ""
        var comparisons: [Comparison] = []
        var message: String?
    }

    private func outcome(_ verified: VerifiedOperator, _ path: KernelPath, _ index: Int, _ context: OperatorContext) -> Outcome {
        var outcome = Outcome()
        do throws(OperatorError) {
            var random = SeededRandom(Self.seed(seed, verified.name, path, index))
            let test = try verified.make(&random, path)
            outcome.description = test.description
            let results = try test.run(context)
            for (expected, actual) in zip(test.expected, results) {
                let comparison = try Comparison(actual, values: expected.values, expected.tolerance)
                outcome.comparisons.append(comparison)
                guard outcome.message == nil, !comparison.passes, let bad = comparison.firstBad else { continue }
                outcome.message =
                    "\(comparison.violationCount) of \(comparison.count) elements of \(expected.name) beyond \(comparison.tolerance); first \(bad); largest error \(comparison.maximumAbsoluteError)"
            }
            if results.count != test.expected.count { outcome.message = "\(results.count) results in place of \(test.expected.count)" }
        } catch {
            outcome.message = error.message
        }
        return outcome
    }

    /// A seed of its own for every case, so that one can be made again without those before it.
    private static func seed(_ seed: UInt64, _ name: String, _ path: KernelPath, _ index: Int) -> UInt64 {
        // FNV-1a over what names the case.
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in "\(seed)/\(name)/\(path.rawValue)/\(index)".utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return hash
    }
}
