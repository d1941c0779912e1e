import Foundation

/// Figures as the reports print them.
enum BenchmarkFormat {
    static func microseconds(_ seconds: Double) -> String {
        let value = seconds * 1e6
        return String(format: value >= 1e4 ? "%.0f" : value >= 10 ? "%.1f" : "%.2f", value)
    }

    /// The rate that the work is limited by: operations where there are some, else bytes.
    static func rate(_ metrics: Metrics, _ work: Work) -> String {
        if let items = metrics.itemsPerSecond { return "\(scaled(items)) \(work.itemName ?? "items")/s" }
        if work.operations > 0 { return String(format: "%.0f TFLOP/s", metrics.operationsPerSecond / 1e12) }
        return String(format: "%.2f TB/s", metrics.bytesPerSecond / 1e12)
    }

    static func percent(_ share: Double?) -> String { share.map { String(format: "%.0f %%", $0 * 100) } ?? "" }

    static func ratio(_ value: Double) -> String { String(format: "%.2f x", value) }

    static func scaled(_ value: Double) -> String {
        switch value {
        case 1e9...: String(format: "%.2f G", value / 1e9)
        case 1e6...: String(format: "%.2f M", value / 1e6)
        case 1e4...: String(format: "%.1f k", value / 1e3)
        case 100...: String(format: "%.0f", value)
        default: String(format: "%.1f", value)
        }
    }

    static func pad(_ text: String, _ width: Int, right: Bool = false) -> String {
        let space = String(repeating: " ", count: max(0, width - text.count))
        return right ? space + text : text + space
    }
}
