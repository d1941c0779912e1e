import Foundation

/// Pieces of SVG.
private enum SVG {
    static func number(_ value: Double) -> String { String(format: "%.1f", value) }

    static func text(_ x: Double, _ y: Double, _ text: String, anchor: String = "start") -> String {
        "<text x=\"\(number(x))\" y=\"\(number(y))\" text-anchor=\"\(anchor)\">\(BenchmarkReport.escaped(text))</text>\n"
    }

    static func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ color: String, width: Double = 1) -> String {
        "<line x1=\"\(number(x1))\" y1=\"\(number(y1))\" x2=\"\(number(x2))\" y2=\"\(number(y2))\" stroke=\"\(color)\" stroke-width=\"\(number(width))\"/>\n"
    }

    static func rectangle(_ x: Double, _ y: Double, _ width: Double, _ height: Double, _ color: String) -> String {
        "<rect x=\"\(number(x))\" y=\"\(number(y))\" width=\"\(number(max(0, width)))\" height=\"\(number(height))\" fill=\"\(color)\"/>\n"
    }

    /// A circle with a title that shows under the pointer.
    static func dot(_ x: Double, _ y: Double, _ color: String, _ title: String) -> String {
        "<circle cx=\"\(number(x))\" cy=\"\(number(y))\" r=\"4\" fill=\"\(color)\"><title>\(BenchmarkReport.escaped(title))</title></circle>\n"
    }

    static func frame(_ width: Double, _ height: Double, _ body: String) -> String {
        "<svg viewBox=\"0 0 \(number(width)) \(number(height))\" width=\"\(number(width))\" height=\"\(number(height))\" role=\"img\">\n\(body)</svg>\n"
    }

    static let ours = "#1565c0"
    static let peer = "#ef6c00"
    static let yardstick = "#9e9e9e"
    static let wrong = "#b00020"
    static let grid = "#e0e0e0"

    static func color(_ row: BenchmarkRow) -> String {
        if row.check.isFailure { return wrong }
        return switch row.role {
        case .ours: ours
        case .peer: peer
        case .yardstick: yardstick
        }
    }
}

/// Operations a second over operations a byte, both logarithmic, under the roofs of the machine.
struct RooflinePlot {
    private let report: BenchmarkReport
    private let size = (width: 900.0, height: 420.0)
    private let margin = (left: 60.0, bottom: 40.0, top: 15.0, right: 20.0)
    /// Decades of the axes.
    private let x = (low: 0.0, high: 4.0)
    private let y = (low: 12.0, high: 15.6)

    init(_ report: BenchmarkReport) { self.report = report }

    private func place(_ intensity: Double, _ rate: Double) -> (x: Double, y: Double) {
        let across = (min(max(log10(intensity), x.low), x.high) - x.low) / (x.high - x.low)
        let up = (min(max(log10(rate), y.low), y.high) - y.low) / (y.high - y.low)
        return (
            margin.left + across * (size.width - margin.left - margin.right),
            size.height - margin.bottom - up * (size.height - margin.bottom - margin.top)
        )
    }

    var svg: String {
        var body = ""
        for decade in Int(x.low)...Int(x.high) {
            let (at, bottom) = place(pow(10, Double(decade)), pow(10, y.low))
            body +=
                SVG.line(at, bottom, at, margin.top, SVG.grid)
                + SVG.text(at, bottom + 16, "\(Int(pow(10, Double(decade))))", anchor: "middle")
        }
        for decade in Int(y.low)...Int(y.high) {
            let (left, at) = place(pow(10, x.low), pow(10, Double(decade)))
            body += SVG.line(left, at, size.width - margin.right, at, SVG.grid)
            body += SVG.text(left - 6, at + 4, String(format: "%g T", pow(10, Double(decade) - 12)), anchor: "end")
        }
        body += SVG.text(size.width / 2, size.height - 6, "operations for each byte", anchor: "middle")
        body += SVG.text(margin.left + 4, margin.top + 10, "operations a second")
        body += roofs
        for group in report.groups where group.work.operations > 0 && group.work.bytes > 0 {
            for row in group.rows {
                guard let metrics = try? Metrics(group.work, seconds: row.spread.median, peaks: report.machine.peaks) else { continue }
                let (x, y) = place(metrics.intensity, metrics.operationsPerSecond)
                body += SVG.dot(x, y, SVG.color(row), "\(group.title), \(row.name): \(BenchmarkFormat.rate(metrics, group.work))")
            }
        }
        return SVG.frame(size.width, size.height, body)
    }

    private var roofs: String {
        let peaks = report.machine.peaks
        guard let bandwidth = peaks.bandwidth else { return "" }
        var text = ""
        for (name, peak) in [("bf16", peaks.bf16), ("fp8", peaks.fp8), ("fp32", peaks.fp32)] {
            guard let peak else { continue }
            let knee = place(peak / bandwidth, peak)
            let (right, _) = place(pow(10, x.high), peak)
            text +=
                SVG.line(knee.x, knee.y, right, knee.y, "#777", width: 1.5)
                + SVG.text(right, knee.y - 4, "\(name) \(BenchmarkFormat.scaled(peak / 1e12)) T", anchor: "end")
        }
        let start = place(pow(10, x.low), bandwidth * pow(10, x.low))
        let top = [peaks.bf16, peaks.fp8, peaks.fp32].compactMap { $0 }.max() ?? pow(10, y.high)
        let end = place(top / bandwidth, top)
        return text + SVG.line(start.x, start.y, end.x, end.y, "#777", width: 1.5)
    }
}

/// A bar for each row: its share of the least time that the peaks allow.
struct SharePlot {
    private let groups: [BenchmarkGroup]
    private let peaks: Peaks

    init(_ groups: [BenchmarkGroup], _ peaks: Peaks) {
        self.groups = groups
        self.peaks = peaks
    }

    var svg: String {
        let (left, width, step) = (420.0, 900.0, 15.0)
        var (body, y) = ("", 6.0)
        for group in groups {
            for (index, row) in group.rows.enumerated() {
                guard let share = (try? Metrics(group.work, seconds: row.spread.median, peaks: peaks))?.shareOfRoof else { continue }
                let name = (index == 0 ? group.title + ", " : "") + row.name
                body += SVG.text(left - 6, y + 10, name, anchor: "end")
                body += SVG.rectangle(left, y + 1, min(share, 1.2) * (width - left - 50) / 1.2, step - 3, SVG.color(row))
                body += SVG.text(left + min(share, 1.2) * (width - left - 50) / 1.2 + 4, y + 10, BenchmarkFormat.percent(share))
                y += step
            }
            y += 4
        }
        let full = left + (width - left - 50) / 1.2
        return SVG.frame(width, y + 6, SVG.line(full, 0, full, y, "#999") + body)
    }
}

/// The middle eighty percent of each row's runs, with the median, over the median of the group's first row.
struct SpreadPlot {
    private let groups: [BenchmarkGroup]

    init(_ groups: [BenchmarkGroup]) { self.groups = groups }

    var svg: String {
        let (left, width, step) = (420.0, 900.0, 15.0)
        func place(_ ratio: Double) -> Double { left + min(max(ratio, 0), 2.5) / 2.5 * (width - left - 20) }
        var (body, y) = ("", 6.0)
        for group in groups {
            guard let base = group.rows.first?.spread.median else { continue }
            for (index, row) in group.rows.enumerated() {
                body += SVG.text(left - 6, y + 10, (index == 0 ? group.title + ", " : "") + row.name, anchor: "end")
                let (low, middle, high) = (place(row.spread.p10 / base), place(row.spread.median / base), place(row.spread.p90 / base))
                body += SVG.rectangle(low, y + 3, max(1, high - low), step - 7, SVG.color(row))
                body += SVG.line(middle, y, middle, y + step - 1, "#000", width: 1.5)
                for sample in row.samples { body += SVG.line(place(sample / base), y + 5, place(sample / base), y + 9, "#fff", width: 0.5) }
                y += step
            }
            y += 4
        }
        var grid = ""
        for tick in [0.0, 0.5, 1, 1.5, 2, 2.5] {
            grid +=
                SVG.line(place(tick), 0, place(tick), y, tick == 1 ? "#999" : SVG.grid) + SVG.text(place(tick), y + 12, "\(tick)", anchor: "middle")
        }
        return SVG.frame(width, y + 18, grid + body)
    }
}
