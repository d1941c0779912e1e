/// Median and spread of repeated measurements.
public struct Spread: Sendable, Equatable {
    public let count: Int
    public let median: Double
    public let p10: Double
    public let p90: Double

    /// - Parameter values: at least one finite number; nil otherwise.
    public init?(_ values: [Double]) {
        let sorted = values.sorted()
        guard !sorted.isEmpty, sorted.allSatisfy({ $0.isFinite }) else { return nil }
        count = sorted.count
        median = Self.quantile(0.5, of: sorted)
        p10 = Self.quantile(0.1, of: sorted)
        p90 = Self.quantile(0.9, of: sorted)
    }

    /// Linear between the two nearest ranks.
    private static func quantile(_ share: Double, of sorted: [Double]) -> Double {
        let position = share * Double(sorted.count - 1)
        let lower = Int(position)
        let upper = min(lower + 1, sorted.count - 1)
        return sorted[lower] + (sorted[upper] - sorted[lower]) * (position - Double(lower))
    }
}
