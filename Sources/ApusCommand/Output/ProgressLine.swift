import Foundation
import Synchronization

/// One line on a terminal's stderr with what is done, the rate and the time left; nothing in a pipe. Any thread may update it.
final class ProgressLine: Sendable {
    private struct State {
        var lastDraw: ContinuousClock.Instant?
        var hasDrawn = false
    }

    private let label: String
    private let unit: String
    private let isShown: Bool
    private let clock = ContinuousClock()
    private let start: ContinuousClock.Instant
    private let state = Mutex(State())

    /// - Parameter unit: what is counted, such as "texts" or "MB".
    init(_ label: String, unit: String) {
        self.label = label
        self.unit = unit
        isShown = isatty(STDERR_FILENO) == 1
        start = clock.now
    }

    /// - Parameter total: nil while it is not known.
    func update(_ done: Double, of total: Double?) {
        guard isShown else { return }
        let now = clock.now
        state.withLock { state in
            if let last = state.lastDraw, now - last < .milliseconds(100), total.map({ done < $0 }) ?? true { return }
            state.lastDraw = now
            state.hasDrawn = true
            FileHandle.standardError.write(Data("\r\u{1B}[K\(Self.text(label, unit, done, total, seconds: (now - start) / .seconds(1)))".utf8))
        }
    }

    /// Removes the line.
    func finish() {
        state.withLock { state in
            guard state.hasDrawn else { return }
            FileHandle.standardError.write(Data("\r\u{1B}[K".utf8))
            state.hasDrawn = false
        }
    }

    static func text(_ label: String, _ unit: String, _ done: Double, _ total: Double?, seconds: Double) -> String {
        let rate = seconds > 0 ? done / seconds : 0
        var text = "\(label) \(Format.count(done))"
        if let total { text += "/\(Format.count(total))" }
        text += " \(unit), \(Format.count(rate)) \(unit)/s"
        if let total, rate > 0, total > done { text += ", \(Format.duration((total - done) / rate)) left" }
        return text
    }
}

/// Numbers as people read them.
enum Format {
    static func count(_ value: Double) -> String {
        switch abs(value) {
        case 1e6...: String(format: "%.2f M", value / 1e6)
        case 1e4...: String(format: "%.1f k", value / 1e3)
        case 100...: String(format: "%.0f", value)
        default: value == value.rounded() ? String(format: "%.0f", value) : String(format: "%.1f", value)
        }
    }

    /// "0.42 ms" to "123 ms"; seconds from one on.
    static func milliseconds(_ duration: Duration) -> String {
        let value = duration / .milliseconds(1)
        if value >= 1000 { return String(format: "%.2f s", value / 1000) }
        return String(format: value < 10 ? "%.2f ms" : value < 100 ? "%.1f ms" : "%.0f ms", value)
    }

    static func bytes(_ value: Int) -> String {
        switch abs(value) {
        case (1 << 30)...: String(format: "%.2f GiB", Double(value) / Double(1 << 30))
        case (1 << 20)...: String(format: "%.1f MiB", Double(value) / Double(1 << 20))
        case (1 << 10)...: String(format: "%.1f KiB", Double(value) / Double(1 << 10))
        default: "\(value) B"
        }
    }

    static func duration(_ seconds: Double) -> String {
        guard seconds < 100 * 3600 else { return "a long time" }
        let whole = Int(seconds.rounded())
        return switch whole {
        case 3600...: "\(whole / 3600) h \(whole / 60 % 60) min"
        case 60...: "\(whole / 60) min \(whole % 60) s"
        default: "\(whole) s"
        }
    }
}
