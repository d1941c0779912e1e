import Benchmarking
import Foundation

/// What `bench embed` prints.
struct EmbedReport {
    let title: String
    let device: String
    /// Operations a second on paper, where they are known.
    let peak: Double?
    /// Operations a second of a large product, measured.
    let matrixRate: Double?
    /// Seconds from the opened folder to a model on the GPU.
    let loading: Double
    /// Seconds of the first vector, kernels compiled or read from the cache.
    let firstVector: Double
    /// Seconds until the folder was there.
    let preparation: Double
    let rows: [EmbedBenchmark.Row]
    let peers: [PeerCommand.EmbedFigures]

    var lines: [String] {
        var lines = ["\(title) on \(device)"]
        lines.append(
            "weights on the GPU after \(String(format: "%.2f", loading)) s, first vector \(String(format: "%.2f", firstVector)) s later"
                + (matrixRate.map { String(format: "; a product of 8192 x 8192 x 8192 runs at %.0f TFLOP/s", $0 / 1e12) } ?? ""))
        lines.append("shape         ms (p10, p90)              tok/s    TFLOP/s   MFU  as published  of the product")
        for row in rows {
            let time = String(format: "%.3f (%.3f, %.3f)", row.seconds.median * 1e3, row.seconds.p10 * 1e3, row.seconds.p90 * 1e3)
            lines.append(
                row.shape.description.padding(toLength: 12, withPad: " ", startingAt: 0)
                    + "  " + time.padding(toLength: 24, withPad: " ", startingAt: 0) + "  "
                    + Format.count(row.tokensPerSecond).padding(toLength: 9, withPad: " ", startingAt: 0)
                    + String(format: "%5.0f    ", row.operationsPerSecond / 1e12) + percent(row.operationsPerSecond, of: peak) + "  "
                    + percent(row.publishedOperationsPerSecond, of: peak) + "         " + percent(row.operationsPerSecond, of: matrixRate))
            for peer in peers where peer.shape == row.shape.description {
                lines.append(
                    String(
                        format: "    %@: %.3f ms, %@ tok/s; ours %.2f x", peer.name, peer.milliseconds, Format.count(peer.tokensPerSecond),
                        row.tokensPerSecond / peer.tokensPerSecond))
            }
            let sum = row.steps.reduce(0) { $0 + $1.seconds }
            for step in row.steps.sorted(by: { $0.seconds > $1.seconds }) {
                lines.append(
                    "    " + step.name.padding(toLength: 32, withPad: " ", startingAt: 0)
                        + String(format: "%5.1f %%  %8.1f us in %d", 100 * step.seconds / sum, step.seconds * 1e6, step.count))
            }
        }
        return lines
    }

    private func percent(_ value: Double, of whole: Double?) -> String {
        guard let whole, whole > 0 else { return "    -" }
        return String(format: "%4.1f%%", 100 * value / whole)
    }

    var json: String {
        JSONText.object([
            "model": JSONText.quoted(title), "device": JSONText.quoted(device),
            "peak_operations_per_second": peak.map { JSONText.number($0) } ?? "null",
            "matrix_operations_per_second": matrixRate.map { JSONText.number($0) } ?? "null", "load_seconds": JSONText.number(loading),
            "first_vector_seconds": JSONText.number(firstVector), "shapes": "[\(rows.map(object).joined(separator: ", "))]",
            "peers": "[\(peers.map(object).joined(separator: ", "))]",
        ])
    }

    private func object(_ row: EmbedBenchmark.Row) -> String {
        let steps = row.steps.map { step in
            JSONText.object(["name": JSONText.quoted(step.name), "seconds": JSONText.number(step.seconds), "count": "\(step.count)"])
        }
        return JSONText.object([
            "length": "\(row.shape.length)", "texts": "\(row.shape.count)", "seconds": JSONText.number(row.seconds.median),
            "seconds_p10": JSONText.number(row.seconds.p10), "seconds_p90": JSONText.number(row.seconds.p90), "runs": "\(row.seconds.count)",
            "tokens_per_second": JSONText.number(row.tokensPerSecond), "operations": JSONText.number(row.work.trueOperations),
            "operations_as_published": JSONText.number(row.work.publishedOperations), "steps": "[\(steps.joined(separator: ", "))]",
        ])
    }

    private func object(_ peer: PeerCommand.EmbedFigures) -> String {
        JSONText.object([
            "name": JSONText.quoted(peer.name), "shape": JSONText.quoted(peer.shape), "milliseconds": JSONText.number(peer.milliseconds),
            "tokens_per_second": JSONText.number(peer.tokensPerSecond),
        ])
    }
}
