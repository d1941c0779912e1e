/// A time that cannot be one.
package struct MetricsError: Error, Equatable, CustomStringConvertible {
    package let description: String

    package init(description: String) { self.description = description }
}

/// What a time says about a piece of work on a machine of known peaks.
package struct Metrics: Sendable, Equatable {
    package let seconds: Double
    /// 0 for work without operations.
    package let operationsPerSecond: Double
    package let bytesPerSecond: Double
    /// Nil for work without items.
    package let itemsPerSecond: Double?
    /// Of the arithmetic peak; nil where it is not known or there are no operations.
    package let shareOfArithmetic: Double?
    /// Of the memory's peak; nil where it is not known.
    package let shareOfBandwidth: Double?
    /// The least time that the peaks allow, over the time taken; nil where no peak is known.
    package let shareOfRoof: Double?
    /// Operations for each byte.
    package let intensity: Double

    /// Throws for a time that is 0, negative, infinite or NaN, and for work without operations and bytes.
    package init(_ work: Work, seconds: Double, peaks: Peaks) throws(MetricsError) {
        guard seconds.isFinite, seconds > 0 else { throw MetricsError(description: "a call cannot have taken \(seconds) seconds") }
        guard work.operations >= 0, work.bytes >= 0, work.operations + work.bytes > 0, (work.operations + work.bytes).isFinite else {
            throw MetricsError(description: "\(work.operations) operations and \(work.bytes) bytes are no work to be measured")
        }
        self.seconds = seconds
        operationsPerSecond = work.operations / seconds
        bytesPerSecond = work.bytes / seconds
        itemsPerSecond = work.items.map { $0 / seconds }
        let arithmetic = work.operations > 0 ? peaks.arithmetic(work.unit) : nil
        shareOfArithmetic = arithmetic.map { work.operations / seconds / $0 }
        shareOfBandwidth = peaks.bandwidth.map { work.bytes / seconds / $0 }
        shareOfRoof = [shareOfArithmetic, shareOfBandwidth].compactMap { $0 }.max()
        intensity = work.bytes > 0 ? work.operations / work.bytes : .infinity
    }
}
