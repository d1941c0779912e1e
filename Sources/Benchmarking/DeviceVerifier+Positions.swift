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
        let expected = try logits(reference, ids)
        let fixed = PositionBounds(relative: bounds.logits)
        var roundings: PositionBounds?
        /// What roundings to bf16 between operations allow: of these positions, which stand for others.
        func widened() throws -> PositionBounds {
            if let roundings { return roundings }
            let made = fixed.widened(by: zip(try logits(rounding.executor(), ids), expected).map(PositionError.init))
            roundings = made
            return made
        }
        // The resident kernel's activations keep more than bf16.
        let isResident = device.decodeForm?.isResident == true
        try summarize(
            zip(try logits(device, ids), expected).map(PositionError.init), "\(ids.count) positions", fixed, isResident ? { fixed } : widened,
            report)

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
            // The prompt's keys and values come from layers either way.
            try summarize(
                zip(steps, expected).map(PositionError.init), "\(Self.steps) steps behind a prompt of \(prompt)", fixed, widened, report)
        }
    }

    /// - Parameter widened: the bounds where the fixed ones are missed.
    private func summarize(
        _ errors: [PositionError], _ name: String, _ fixed: PositionBounds, _ widened: () throws -> PositionBounds,
        _ report: (ModelVerifier.Check) throws -> Void
    ) throws {
        let bounds = fixed.holds(errors) ? fixed : try widened()
        try report(.init(name: "\(name): largest KL", value: errors.worst(\.divergence), bound: bounds.divergence, isLowerBound: false))
        try report(.init(name: "\(name): relative error", value: errors.worst(\.relative), bound: bounds.relative, isLowerBound: false))
        try report(.init(name: "\(name): other tokens", value: Double(bounds.wrong(errors)), bound: 0, isLowerBound: false))
    }
}

/// What logits behind positions are held to.
package struct PositionBounds: Sendable {
    /// Of the distributions, in nats.
    package let divergence: Double
    /// Norm of the difference over the norm of the expected logits.
    package let relative: Double
    /// Between the two likeliest tokens, up to which it does not count which of them is the likeliest.
    package let gap: Double

    /// Those of a computation that keeps more than bf16, or of a model that is not sharp.
    package init(relative: Double) { (divergence, self.relative, gap) = (1e-3, relative, 0.05) }

    private init(divergence: Double, relative: Double, gap: Double) {
        (self.divergence, self.relative, self.gap) = (divergence, relative, gap)
    }

    /// As ``RoundingReference`` has it: twice the roundings' errors, so four times their divergence, which goes with the square. The largest error of a
    /// logit, among as many as there are, is some 5.5 deviations, 4 of the difference of two logits: tokens change places across no more.
    package func widened(by roundings: [PositionError]) -> PositionBounds {
        let factor = RoundingReference.factor
        return PositionBounds(
            divergence: RoundingReference.bound(divergence, roundings: factor * roundings.worst(\.divergence)),
            relative: RoundingReference.bound(relative, roundings: roundings.worst(\.relative)),
            gap: RoundingReference.bound(gap, roundings: roundings.worst(\.largest)))
    }

    /// How many likeliest tokens are others although the gap allows no doubt.
    package func wrong(_ errors: [PositionError]) -> Int { errors.count { $0.differs && $0.gap > gap } }

    package func holds(_ errors: [PositionError]) -> Bool {
        errors.worst(\.divergence) <= divergence && errors.worst(\.relative) <= relative && wrong(errors) == 0
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
    /// Whether the likeliest token is another one.
    package let differs: Bool

    package init(_ actual: [Float], _ expected: [Float]) {
        divergence = DeviceVerifier.divergence(of: actual, from: expected)
        relative = DeviceVerifier.relativeError(actual, expected)
        let errors = zip(actual, expected).map { abs(Double($0) - Double($1)) }
        largest = errors.max() ?? 0
        mean = errors.reduce(0, +) / Double(max(1, errors.count))
        var (first, second) = (-Double.infinity, -Double.infinity)
        for value in expected.lazy.map(Double.init) where value > second { (first, second) = value > first ? (value, first) : (first, value) }
        gap = first - second
        differs = DeviceVerifier.likeliest(actual) != DeviceVerifier.likeliest(expected)
    }
}

extension [PositionError] {
    /// The largest; NaN where one is NaN, and of none.
    package func worst(_ value: (PositionError) -> Double) -> Double { map(value).max { $1.isNaN || $0 < $1 } ?? .nan }
}
