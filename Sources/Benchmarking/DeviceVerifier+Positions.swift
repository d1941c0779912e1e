import Apus
import Foundation
import Transformer

/// Logits behind every position, each token given: the device's, token by token, against the CPU's; and steps behind a prompt in one piece against steps alone.
extension DeviceVerifier {
    private static let positions = 256
    /// Behind prompts of these lengths come so many steps.
    private static let prompts = [1, 2, 63, 64, 65, 512, 4096]
    private static let steps = 8

    func checkPositions(_ report: (ModelVerifier.Check) throws -> Void) throws {
        let ids = randomIDs(min(Self.positions, model.spec.maximumPositions), stream: "positions")
        let actual = try logits(device, ids)
        try summarize(zip(actual, try logits(reference, ids)).map(PositionError.init), "\(ids.count) positions", report)

        for prompt in Self.prompts where prompt + Self.steps <= model.spec.maximumPositions {
            let ids = randomIDs(prompt + Self.steps, stream: "prompt \(prompt)")
            let behind = try device.makeSession()
            _ = try behind.extend(Array(ids[..<prompt]))
            var steps: [[Float]] = []
            for id in ids[prompt...] { steps.append(try behind.extend([id])) }
            let single = try device.makeSession()
            var expected: [[Float]] = []
            try single.extend(ids) { position, logits in
                if position >= prompt { expected.append(logits) }
            }
            try summarize(zip(steps, expected).map(PositionError.init), "\(Self.steps) steps behind a prompt of \(prompt)", report)
        }
    }

    private func summarize(_ errors: [PositionError], _ name: String, _ report: (ModelVerifier.Check) throws -> Void) throws {
        func worst(_ value: (PositionError) -> Double) -> Double { errors.map(value).max { $1.isNaN || $0 < $1 } ?? .nan }
        try report(.init(name: "\(name): largest KL", value: worst(\.divergence), bound: PositionError.divergenceBound, isLowerBound: false))
        try report(.init(name: "\(name): relative error", value: worst(\.relative), bound: bounds.logits, isLowerBound: false))
        let wrong = errors.count { $0.isWrong }
        try report(.init(name: "\(name): other tokens", value: Double(wrong), bound: 0, isLowerBound: false))
    }
}

/// The logits behind one position against those that are expected.
package struct PositionError {
    /// Of the distributions, in nats.
    package let divergence: Double
    /// Norm of the difference over the norm of the expected logits.
    package let relative: Double
    /// Of one logit, and in the mean.
    package let largest: Double
    package let mean: Double
    /// From the likeliest token to the one behind it.
    package let gap: Double
    /// Whether the likeliest token is another one although the gap allows no doubt.
    package let isWrong: Bool

    package static let divergenceBound = 1e-3
    /// Gaps up to this are as good as none.
    package static let doubtfulGap = 0.05

    package init(_ actual: [Float], _ expected: [Float]) {
        divergence = DeviceVerifier.divergence(of: actual, from: expected)
        relative = DeviceVerifier.relativeError(actual, expected)
        let errors = zip(actual, expected).map { abs(Double($0) - Double($1)) }
        largest = errors.max() ?? 0
        mean = errors.reduce(0, +) / Double(max(1, errors.count))
        var (first, second) = (-Double.infinity, -Double.infinity)
        for value in expected.lazy.map(Double.init) where value > second { (first, second) = value > first ? (value, first) : (first, value) }
        gap = first - second
        isWrong = gap > Self.doubtfulGap && DeviceVerifier.likeliest(actual) != DeviceVerifier.likeliest(expected)
    }
}
