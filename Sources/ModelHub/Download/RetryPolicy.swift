/// How long a download waits for the network and how often it tries again.
package struct RetryPolicy: Sendable {
    /// Attempts in a row that bring nothing new before giving up. An attempt that brought bytes starts the count again.
    package var attempts = 5
    /// The wait before the second attempt; it doubles from one to the next.
    package var firstDelay: Duration = .milliseconds(500)
    /// No single wait is longer, whatever the server asks for.
    package var longestDelay: Duration = .seconds(20)
    package var connectTimeout: Duration = .seconds(10)
    /// A connection that brings no byte for so long counts as broken.
    package var stallTimeout: Duration = .seconds(30)
    /// Files fetched at the same time.
    package var concurrentFiles = 4

    package init() {}

    /// The wait before attempt `attempt`, the second one being 1.
    func delay(before attempt: Int, serverAsks: Duration? = nil) -> Duration {
        var delay = firstDelay
        for _ in 1..<max(attempt, 1) where delay < longestDelay { delay *= 2 }
        return min(max(delay, serverAsks ?? .zero), longestDelay)
    }
}
