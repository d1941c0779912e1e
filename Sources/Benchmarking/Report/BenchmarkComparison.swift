/// Two reports side by side: the same work, ours then and ours now.
package struct BenchmarkComparison: Sendable {
    package struct Line: Sendable, Equatable {
        package let title: String
        package let name: String
        /// Medians in seconds.
        package let baseline: Double
        package let present: Double
        /// The baseline's time over the present one: above 1 is faster now.
        package var speedup: Double { baseline / present }
        /// Whether the middle eighty percent of both overlap: then the difference is noise.
        package let isWithinSpread: Bool
    }

    package let lines: [Line]
    /// Titles and names that only one of the reports holds.
    package let unmatched: [String]
    /// What makes the comparison doubtful, such as another GPU.
    package let warnings: [String]

    package init(baseline: BenchmarkReport, present: BenchmarkReport) {
        struct Key: Hashable {
            let title: String
            let name: String
        }
        func rows(_ report: BenchmarkReport) -> [(Key, BenchmarkRow)] {
            report.groups.flatMap { group in group.rows.map { (Key(title: group.title, name: $0.name), $0) } }
        }
        let before = Dictionary(rows(baseline).map { ($0.0, $0.1) }) { first, _ in first }
        var seen: Set<Key> = []
        var lines: [Line] = []
        var unmatched: [String] = []
        for (key, row) in rows(present) {
            seen.insert(key)
            guard let old = before[key] else {
                unmatched.append("\(key.title), \(key.name): only now")
                continue
            }
            lines.append(
                Line(
                    title: key.title, name: key.name, baseline: old.spread.median, present: row.spread.median,
                    isWithinSpread: old.spread.p10 <= row.spread.p90 && row.spread.p10 <= old.spread.p90))
        }
        for (key, _) in rows(baseline) where !seen.contains(key) { unmatched.append("\(key.title), \(key.name): only in the baseline") }
        self.lines = lines
        self.unmatched = unmatched
        var warnings: [String] = []
        if baseline.machine.device != present.machine.device {
            warnings.append("the baseline was measured on \(baseline.machine.device), not on \(present.machine.device)")
        }
        if baseline.machine.driver != present.machine.driver {
            warnings.append("the baseline's driver was \(baseline.machine.driver), now it is \(present.machine.driver)")
        }
        if baseline.method != present.method { warnings.append("the baseline was timed otherwise: \(baseline.method)") }
        self.warnings = warnings
    }

    /// As lines for a terminal.
    package var text: String {
        var result = warnings.map { "! \($0)\n" }.joined()
        for line in lines {
            result +=
                BenchmarkFormat.pad("\(line.title), \(line.name)", 64)
                + BenchmarkFormat.pad(BenchmarkFormat.microseconds(line.baseline), 10, right: true)
                + " -> " + BenchmarkFormat.pad(BenchmarkFormat.microseconds(line.present), 9, right: true) + " us  "
                + BenchmarkFormat.ratio(line.speedup) + (line.isWithinSpread ? " (within the spread)" : "") + "\n"
        }
        // A part of the cases compared with all of them leaves many over.
        let shown = 8
        for text in unmatched.prefix(shown) { result += "- \(text)\n" }
        return unmatched.count > shown ? result + "- and \(unmatched.count - shown) more\n" : result
    }
}
