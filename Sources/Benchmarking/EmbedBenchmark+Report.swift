import CUDA
import Transformer

extension EmbedBenchmark {
    /// Another system's time for a shape.
    package struct PeerFigure: Sendable {
        package let name: String
        package let shape: String
        package let seconds: Double

        package init(name: String, shape: String, seconds: Double) {
            self.name = name
            self.shape = shape
            self.seconds = seconds
        }
    }

    /// The rows in the form that reports are written from: operations are the model's own, bytes those of the weights in bf16, ids and vectors.
    package func report(
        _ rows: [Row], peers: [PeerFigure], title: String, command: String, version: String, date: String
    ) throws -> BenchmarkReport {
        let spec = executor.spec
        let weightBytes = 2 * Double(EmbedWork.matrixParameters(spec))
        let groups = rows.reduce(into: [[Row]]()) { groups, row in
            if let last = groups.last?.first, last.shape == row.shape { groups[groups.count - 1].append(row) } else { groups.append([row]) }
        }.map { same in
            let row = same[0]
            let work = Work(
                operations: row.work.trueOperations, bytes: weightBytes + Double(row.shape.tokens * (4 + 2 * spec.hiddenSize)),
                items: Double(row.shape.tokens), itemName: "tokens")
            var all = same.map { row in
                BenchmarkRow(
                    name: row.precision == .bfloat16 ? "apus" : "apus \(row.precision.rawValue)", role: .ours, samples: row.samples,
                    check: .unchecked("apus verify holds it against the CPU"),
                    note: row.steps.sorted { $0.seconds > $1.seconds }.prefix(3).map { "\($0.name) \(Int(($0.seconds * 1e6).rounded())) us" }
                        .joined(separator: ", "))
            }
            all += peers.filter { $0.shape == row.shape.description }.map {
                BenchmarkRow(name: $0.name, role: .peer, samples: [$0.seconds], check: .unchecked("random weights of its own"))
            }
            return BenchmarkGroup(
                title: "\(title), \(row.shape.count) texts of \(row.shape.length) tokens", section: "embed", work: work,
                rows: all.compactMap { $0 })
        }
        return BenchmarkReport(
            title: "apus bench embed", command: command, version: version, date: date, machine: try BenchmarkMachine(executor.device),
            method: "batches one behind the other, three on their way; a batch's time is from the end of the one before to its own", groups: groups)
    }
}
