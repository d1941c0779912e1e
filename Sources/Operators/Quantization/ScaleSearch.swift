/// Doubles a scale until all values fit the format.
struct ScaleSearch {
    private(set) var scale: Float
    private var attempts = 0
    private let format: Float8Format
    private let maximumAttempts: Int

    init(_ scale: Float, _ format: Float8Format, _ maximumAttempts: Int) throws(OperatorError) {
        try CPUReference.checkScale("quantize", "scale", scale)
        self.scale = scale
        self.format = format
        self.maximumAttempts = maximumAttempts
    }

    /// True when the scale that was tried fits the largest magnitude; otherwise the scale is doubled, up to the number of attempts.
    mutating func accepts(_ largest: Float) throws(OperatorError) -> Bool {
        attempts += 1
        if largest / scale <= format.roundingLimit { return true }
        guard attempts < maximumAttempts, largest.isFinite else {
            let overflow = OperatorError.Overflow(maximum: largest, scale: scale, attempts: attempts)
            throw OperatorError(
                .overflow, in: "quantize", tensor: "x", expected: "at most \(format.maximum) * scale", actual: "\(largest)",
                overflow: overflow,
                "the largest value \(largest) does not fit \(format.rawValue), which reaches \(format.maximum), at scale \(scale) after \(attempts) attempts"
            )
        }
        scale *= 2
        return false
    }
}
