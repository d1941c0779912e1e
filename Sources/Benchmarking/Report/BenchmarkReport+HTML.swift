extension BenchmarkReport {
    /// One page with tables and plots, complete in itself: no script, no style and no picture from elsewhere.
    package var html: String {
        var body = "<h1>\(Self.escaped(title))</h1>\n" + headLines.map { "<p>\(Self.escaped($0))</p>\n" }.joined()
        if hasFailure { body += "<p class=\"bad\">Some results are wrong: see the rows marked ✗.</p>\n" }
        body += "<h2>Roofline</h2>\n" + RooflinePlot(self).svg
        for section in sections {
            body += "<h2>\(Self.escaped(section.name))</h2>\n" + table(section.groups)
            body += "<h3>Share of the roof</h3>\n" + SharePlot(section.groups, machine.peaks).svg
            body += "<h3>Spread, as time over the median of the group's first row</h3>\n" + SpreadPlot(section.groups).svg
        }
        return
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>\(Self.escaped(title))</title>\n<style>\(Self.style)</style></head>\n"
            + "<body>\n\(body)</body></html>\n"
    }

    private func table(_ groups: [BenchmarkGroup]) -> String {
        let head = ["", "who", "median us", "p10", "p90", "rate", "of the roof", "peer / ours", "check", ""]
        var text = "<table><tr>" + head.map { "<th>\($0)</th>" }.joined() + "</tr>\n"
        for group in groups {
            for (index, row) in group.rows.enumerated() {
                guard let metrics = try? Metrics(group.work, seconds: row.spread.median, peaks: machine.peaks) else { continue }
                let ratio = row.role != .ours ? group.ours.map { BenchmarkFormat.ratio(row.spread.median / $0.spread.median) } ?? "" : ""
                let cells = [
                    index == 0 ? group.title : "", row.name, BenchmarkFormat.microseconds(row.spread.median),
                    BenchmarkFormat.microseconds(row.spread.p10), BenchmarkFormat.microseconds(row.spread.p90),
                    BenchmarkFormat.rate(metrics, group.work), BenchmarkFormat.percent(metrics.shareOfRoof), ratio,
                    "\(row.check.mark) \(row.check.text)", row.note,
                ]
                text += "<tr class=\"\(row.check.isFailure ? "bad" : row.role.rawValue)\">"
                text += cells.map { "<td>\(Self.escaped($0))</td>" }.joined() + "</tr>\n"
            }
            for remark in group.remarks { text += "<tr><td></td><td colspan=\"9\">\(Self.escaped(remark))</td></tr>\n" }
        }
        return text + "</table>\n"
    }

    static func escaped(_ text: String) -> String {
        var result = ""
        for character in text {
            switch character {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            default: result.append(character)
            }
        }
        return result
    }

    private static let style = """
        body{font:14px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1100px;color:#222;padding:0 1em}
        table{border-collapse:collapse;margin:.5em 0}td,th{padding:.15em .7em;text-align:left;border-bottom:1px solid #ddd;font-variant-numeric:tabular-nums}
        tr.ours td{font-weight:600}tr.peer td,tr.yardstick td{color:#555}.bad td,.bad{color:#b00020;font-weight:600}
        svg{max-width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:#444}
        """
}
