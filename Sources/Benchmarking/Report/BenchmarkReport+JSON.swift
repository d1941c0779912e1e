import JSON
import OrderedCollections

/// A file that is no report of this program.
package struct BenchmarkReportError: Error, Equatable, CustomStringConvertible {
    package let description: String

    package init(description: String) { self.description = description }
}

extension BenchmarkReport {
    private static let format = "apus-benchmark-1"

    /// The whole report as one JSON object: medians, quantiles and every run in microseconds, and the figures that follow from them.
    package var json: String {
        let header: [(String, String)] = [
            ("format", Self.quoted(Self.format)), ("title", Self.quoted(title)), ("command", Self.quoted(command)),
            ("version", Self.quoted(version)), ("date", Self.quoted(date)), ("method", Self.quoted(method)), ("machine", machineJSON),
        ]
        let groups = groups.map { "    " + json($0) }.joined(separator: ",\n")
        return "{\n" + header.map { "  \(Self.quoted($0.0)): \($0.1),\n" }.joined() + "  \"groups\": [\n\(groups)\n  ]\n}\n"
    }

    private var machineJSON: String {
        Self.object([
            ("device", Self.quoted(machine.device)), ("compute_capability", Self.quoted(machine.computeCapability)),
            ("driver", Self.quoted(machine.driver)),
            ("versions", Self.object(machine.versions.sorted { $0.key < $1.key }.map { ($0.key, Self.quoted($0.value)) })),
            ("peaks", Self.json(machine.peaks)), ("ceilings", machine.ceilings.map { Self.json($0) } ?? "null"),
        ])
    }

    private static func json(_ peaks: Peaks) -> String {
        Self.object([
            ("bf16", Self.number(peaks.bf16)), ("fp8", Self.number(peaks.fp8)), ("fp32", Self.number(peaks.fp32)),
            ("bytes_per_second", Self.number(peaks.bandwidth)), ("source", Self.quoted(peaks.source)),
        ])
    }

    private func json(_ group: BenchmarkGroup) -> String {
        let work = group.work
        return Self.object([
            ("title", Self.quoted(group.title)), ("section", Self.quoted(group.section)), ("operations", Self.number(work.operations)),
            ("bytes", Self.number(work.bytes)), ("unit", Self.quoted(work.unit.rawValue)), ("items", Self.number(work.items)),
            ("item_name", work.itemName.map(Self.quoted) ?? "null"), ("speedup", Self.number(group.speedup)),
            ("rows", Self.array(group.rows.map { json($0, work) })), ("remarks", Self.array(group.remarks.map(Self.quoted))),
        ])
    }

    private func json(_ row: BenchmarkRow, _ work: Work) -> String {
        let metrics = try? Metrics(work, seconds: row.spread.median, peaks: machine.peaks)
        let check =
            switch row.check {
            case .passed: "passed"
            case .failed: "failed"
            case .unchecked: "unchecked"
            }
        return Self.object([
            ("name", Self.quoted(row.name)), ("role", Self.quoted(row.role.rawValue)), ("median_us", Self.number(row.spread.median * 1e6)),
            ("p10_us", Self.number(row.spread.p10 * 1e6)), ("p90_us", Self.number(row.spread.p90 * 1e6)),
            ("operations_per_second", Self.number(metrics?.operationsPerSecond)), ("bytes_per_second", Self.number(metrics?.bytesPerSecond)),
            ("items_per_second", Self.number(metrics?.itemsPerSecond)), ("share_of_roof", Self.number(metrics?.shareOfRoof)),
            ("check", Self.quoted(check)), ("check_text", Self.quoted(row.check.text)), ("note", Self.quoted(row.note)),
            ("samples_us", Self.array(row.samples.map { Self.number($0 * 1e6) })),
        ])
    }

    // MARK: Reading

    /// Reads a report that ``json`` wrote.
    package init(json text: String) throws {
        let value: JSONValue
        do {
            value = try JSONValue(parsing: text)
        } catch {
            throw BenchmarkReportError(description: "not JSON: \(error)")
        }
        guard value["format"]?.stringValue == Self.format else {
            throw BenchmarkReportError(description: "no benchmark report of this program (its format is not \"\(Self.format)\")")
        }
        func string(_ name: String) -> String { value[name]?.stringValue ?? "" }
        let machine = value["machine"]
        self.init(
            title: string("title"), command: string("command"), version: string("version"), date: string("date"),
            machine: BenchmarkMachine(
                device: machine?["device"]?.stringValue ?? "", computeCapability: machine?["compute_capability"]?.stringValue ?? "",
                driver: machine?["driver"]?.stringValue ?? "",
                versions: Dictionary(
                    uniqueKeysWithValues: (machine?["versions"]?.objectValue ?? [:]).compactMap { key, value in value.stringValue.map { (key, $0) } }),
                peaks: Self.peaks(machine?["peaks"]), ceilings: machine?["ceilings"]?.objectValue == nil ? nil : Self.peaks(machine?["ceilings"])),
            method: string("method"))
        groups = try (value["groups"]?.arrayValue ?? []).map { try Self.group($0) }
    }

    private static func peaks(_ value: JSONValue?) -> Peaks {
        Peaks(
            bf16: value?["bf16"]?.doubleValue, fp8: value?["fp8"]?.doubleValue, fp32: value?["fp32"]?.doubleValue,
            bandwidth: value?["bytes_per_second"]?.doubleValue, source: value?["source"]?.stringValue ?? "")
    }

    private static func group(_ value: JSONValue) throws -> BenchmarkGroup {
        guard let title = value["title"]?.stringValue, let section = value["section"]?.stringValue,
            let operations = value["operations"]?.doubleValue, let bytes = value["bytes"]?.doubleValue,
            let unit = value["unit"]?.stringValue.flatMap({ Work.Unit(rawValue: $0) })
        else { throw BenchmarkReportError(description: "a group lacks its title, section, operations, bytes or unit") }
        let work = Work(
            operations: operations, bytes: bytes, unit: unit, items: value["items"]?.doubleValue, itemName: value["item_name"]?.stringValue)
        let rows = try (value["rows"]?.arrayValue ?? []).map { try row($0, in: title) }
        return BenchmarkGroup(
            title: title, section: section, work: work, rows: rows, remarks: (value["remarks"]?.arrayValue ?? []).compactMap(\.stringValue))
    }

    private static func row(_ value: JSONValue, in group: String) throws -> BenchmarkRow {
        let samples = value["samples_us"]?.arrayValue?.compactMap { $0.doubleValue.map { $0 / 1e6 } } ?? []
        let text = value["check_text"]?.stringValue ?? ""
        let check: BenchmarkCheck =
            switch value["check"]?.stringValue {
            case "passed": .passed(text)
            case "failed": .failed(text)
            default: .unchecked(text)
            }
        guard let name = value["name"]?.stringValue,
            let row = BenchmarkRow(
                name: name, role: value["role"]?.stringValue.flatMap { BenchmarkRole(rawValue: $0) } ?? .ours, samples: samples, check: check,
                note: value["note"]?.stringValue ?? "")
        else { throw BenchmarkReportError(description: "a row of \"\(group)\" lacks its name or its times") }
        return row
    }

    // MARK: Writing

    private static func object(_ members: [(String, String)]) -> String {
        "{" + members.map { "\(quoted($0.0)): \($0.1)" }.joined(separator: ", ") + "}"
    }

    private static func array(_ values: [String]) -> String { "[" + values.joined(separator: ", ") + "]" }

    /// JSON has no infinities and no NaN.
    private static func number(_ value: Double?) -> String { value.map { JSONValue.double($0).text } ?? "null" }

    private static func quoted(_ text: String) -> String { JSONValue.string(text).text }
}
