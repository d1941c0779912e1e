extension BenchmarkReport {
    /// What was measured on what, for the head of a report.
    package var headLines: [String] {
        let versions = machine.versions.sorted { $0.key < $1.key }.map { ", \($0.key) \($0.value)" }.joined()
        let lines = [
            "\(title): \(machine.device), compute capability \(machine.computeCapability), driver \(machine.driver)\(versions)",
            "\(date), \(version), \(command)", "\(method); shares are of \(machine.peaks.source)",
        ]
        return lines + (machine.ceilings.map { [Self.line($0)] } ?? [])
    }

    private static func line(_ ceilings: Peaks) -> String {
        let rates = [
            ceilings.bandwidth.map { "\(BenchmarkFormat.scaled($0 / 1e12)) TB/s" },
            ceilings.bf16.map { "\(BenchmarkFormat.scaled($0 / 1e12)) TFLOP/s in bf16" },
        ]
        return "\(ceilings.source): \(rates.compactMap { $0 }.joined(separator: ", "))"
    }

    /// The report as lines for a terminal: a block for each group, its rows below.
    package var text: String {
        var lines = headLines
        for section in sections {
            lines += ["", section.name]
            for group in section.groups { lines += Self.lines(group, machine.peaks) }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// One group: its title with how much faster ours is than the fastest peer, then median, spread, rate, share of the roof and check of each row.
    package static func lines(_ group: BenchmarkGroup, _ peaks: Peaks) -> [String] {
        var lines = ["  \(group.title)" + (group.speedup.map { ": \(BenchmarkFormat.ratio($0)) the fastest peer" } ?? "")]
        for row in group.rows {
            guard let metrics = try? Metrics(group.work, seconds: row.spread.median, peaks: peaks) else { continue }
            let pad = BenchmarkFormat.pad
            lines.append(
                "    \(row.check.mark) " + pad(row.name, 34, false) + pad(BenchmarkFormat.microseconds(row.spread.median), 9, true) + " us ("
                    + "\(BenchmarkFormat.microseconds(row.spread.p10)) to \(BenchmarkFormat.microseconds(row.spread.p90)))  "
                    + pad(BenchmarkFormat.rate(metrics, group.work), 14, true) + pad(BenchmarkFormat.percent(metrics.shareOfRoof), 7, true)
                    + (row.note.isEmpty ? "" : "  \(row.note)"))
            if case .passed(let text) = row.check { lines.append("      \(text)") }
            if case .failed(let reason) = row.check { lines.append("      wrong: \(reason)") }
        }
        lines += group.remarks.map { "    ! \($0)" }
        return lines
    }

    /// The groups as a table in Markdown, with a column for each row name that occurs.
    package var markdown: String {
        var text = ""
        for section in sections {
            text += "\n### \(section.name)\n\n| | who | us (p10 to p90) | rate | of the roof | peer / ours | right |\n|---|---|---|---|---|---|---|\n"
            for group in section.groups {
                for (index, row) in group.rows.enumerated() {
                    guard let metrics = try? Metrics(group.work, seconds: row.spread.median, peaks: machine.peaks) else { continue }
                    let ratio = row.role != .ours ? group.ours.map { BenchmarkFormat.ratio(row.spread.median / $0.spread.median) } ?? "" : ""
                    let spread =
                        "\(BenchmarkFormat.microseconds(row.spread.median)) (\(BenchmarkFormat.microseconds(row.spread.p10)) to \(BenchmarkFormat.microseconds(row.spread.p90)))"
                    text +=
                        "| \(index == 0 ? group.title : "") | \(row.name)\(row.note.isEmpty ? "" : ", \(row.note)") | \(spread) | \(BenchmarkFormat.rate(metrics, group.work)) | \(BenchmarkFormat.percent(metrics.shareOfRoof)) | \(ratio) | \(row.check.mark) |\n"
                }
            }
        }
        return text
    }
}
