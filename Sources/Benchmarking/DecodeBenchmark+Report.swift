import CUDA
import Transformer

extension DecodeBenchmark {
    /// Another system's time for a token.
    package struct PeerFigure: Sendable, Equatable {
        package let name: String
        package let context: Int
        /// Seconds of one run and more.
        package let samples: [Double]

        package init(name: String, context: Int, samples: [Double]) {
            self.name = name
            self.context = context
            self.samples = samples
        }
    }

    /// The rows in the form that reports are written from. Shares are of the read bandwidth that was measured, where it was.
    ///
    /// - Parameter remarks: what was measured once for all rows, in words.
    package func report(
        _ rows: [Row], forms: [FormRow] = [], peers: [PeerFigure], readRate: Double?, remarks: [String], title: String, command: String,
        version: String,
        date: String
    ) throws -> BenchmarkReport {
        var machine =
            try (executor as? CUDAExecutor).map { try BenchmarkMachine($0.device) }
            ?? BenchmarkMachine(
                device: executor.deviceDescription, computeCapability: "none", driver: "none", versions: [:], peaks: Peaks(source: "unknown"))
        if let readRate {
            machine.peaks.bandwidth = readRate
            machine.peaks.source = "the read bandwidth measured in this run (bytes) and \(machine.peaks.source) (operations)"
        }
        let groups = rows.map { row in
            var all = [
                BenchmarkRow(
                    name: "apus", role: .ours, samples: row.samples, check: .unchecked("apus verify holds it against the CPU"),
                    note: Self.note(row, readRate: readRate))
            ]
            all += forms.filter { $0.context == row.context }.map {
                BenchmarkRow(
                    name: $0.name, role: $0.isRival ? .peer : .yardstick, samples: $0.samples, check: .unchecked($0.agreementText),
                    note: $0.isRival ? "" : Self.difference($0, from: row))
            }
            all += peers.filter { $0.context == row.context }.map {
                BenchmarkRow(name: $0.name, role: .peer, samples: $0.samples, check: .unchecked("random weights of its own"))
            }
            return BenchmarkGroup(
                title: "\(title), a token behind \(row.context)", section: "decode",
                work: Work(operations: row.work.operations, bytes: Double(row.work.bytes), items: 1, itemName: "tok"), rows: all.compactMap { $0 })
        }
        var report = BenchmarkReport(
            title: "apus bench decode", command: command, version: version, date: date, machine: machine,
            method: "greedy tokens of one sequence, timed from the arrival of the first to that of the last, a sample a run", groups: groups)
        if !report.groups.isEmpty { report.groups[report.groups.count - 1].remarks += remarks }
        return report
    }

    /// What a form takes more than the kernel as it is, in words.
    package static func difference(_ form: FormRow, from row: Row) -> String {
        guard let spread = Spread(form.samples), row.seconds.median > 0 else { return "" }
        let more = (spread.median - row.seconds.median) * 1e6
        return "\(more < 0 ? "" : "+")\(tenths(more)) us, \(more < 0 ? "" : "+")\(tenths(100 * more / 1e6 / row.seconds.median)) %"
    }

    /// Clock, power and exchanges of a row, in words.
    package static func note(_ row: Row, readRate: Double?) -> String {
        var parts: [String] = []
        if let exchanges = row.exchanges {
            parts.append("\(exchanges) exchanges" + (row.exchangeBound(readRate: readRate).map { ", \(tenths($0)) us each at most" } ?? ""))
        }
        if let power = row.power {
            parts.append("\(Int(power.megahertz.rounded())) MHz, \(Int(power.watts.rounded())) W")
            if let tokens = row.tokensPerJoule { parts.append("\(tenths(tokens)) tok/J") }
        }
        return parts.joined(separator: ", ")
    }

    /// What the GPU holds, in words.
    package static func text(_ memory: Memory) -> String {
        func megabytes(_ count: Int) -> String { "\((count + 500_000) / 1_000_000) MB" }
        return "GPU memory: \(megabytes(memory.measured)) taken, \(megabytes(memory.predicted)) predicted "
            + "(weights \(megabytes(memory.weights)), resident kernel \(megabytes(memory.engine)), cache \(megabytes(memory.cache)), prefill \(megabytes(memory.space)))"
    }

    private static func tenths(_ value: Double) -> String {
        let rounded = (value * 10).rounded() / 10
        return "\(rounded)"
    }
}
