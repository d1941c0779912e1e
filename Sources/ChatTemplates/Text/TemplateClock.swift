import Foundation

/// Where a template gets the time of day from.
public struct TemplateClock: Sendable {
    let now: @Sendable () -> LocalTime

    public init(_ now: @escaping @Sendable () -> LocalTime) { self.now = now }

    /// The system's clock in the local time zone.
    public static let system = TemplateClock {
        let parts = Calendar(identifier: .gregorian).dateComponents([.year, .month, .day, .hour, .minute, .second], from: Date())
        return LocalTime(
            year: parts.year ?? 1970, month: parts.month ?? 1, day: parts.day ?? 1, hour: parts.hour ?? 0, minute: parts.minute ?? 0,
            second: parts.second ?? 0)
    }
}
