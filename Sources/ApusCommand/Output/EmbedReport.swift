import Benchmarking
import Foundation
import Transformer

/// What `bench embed` prints for people; files are written by the suite's report.
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
    /// The same with an empty cache of kernels, and with that full; of one short text, and of texts of many lengths.
    let starts: [(texts: String, cold: EmbedStart, warm: EmbedStart)]
    /// One for each shape and precision, those of a shape behind one another.
    let rows: [EmbedBenchmark.Row]
    let peers: [EmbedBenchmark.PeerFigure]

    var lines: [String] {
        var lines = ["\(title) on \(device)"]
        lines.append(
            "weights on the GPU after \(String(format: "%.2f", loading)) s, first vector \(String(format: "%.2f", firstVector)) s later"
                + (matrixRate.map { String(format: "; a product of 8192 x 8192 x 8192 runs at %.0f TFLOP/s", $0 / 1e12) } ?? ""))
        for start in starts {
            func text(_ start: EmbedStart) -> String {
                String(format: "weights %.2f s, first vectors %.2f s later", start.loading, start.firstVectors)
            }
            lines.append("cold start, \(start.texts), kernels compiled: \(text(start.cold)); kernels from the cache: \(text(start.warm))")
        }
        lines.append("MFU is of bf16's rate on paper, by the model's own work, and as the published benchmark counts it; both precisions alike")
        lines.append("shape               ms (p10, p90)              tok/s    TFLOP/s   MFU  as published  of the product  host ms")
        for row in rows {
            let time = String(format: "%.3f (%.3f, %.3f)", row.seconds.median * 1e3, row.seconds.p10 * 1e3, row.seconds.p90 * 1e3)
            lines.append(
                "\(row.shape) \(row.precision.rawValue)".padding(toLength: 18, withPad: " ", startingAt: 0)
                    + "  " + time.padding(toLength: 24, withPad: " ", startingAt: 0) + "  "
                    + Format.count(row.tokensPerSecond).padding(toLength: 9, withPad: " ", startingAt: 0)
                    + String(format: "%5.0f    ", row.operationsPerSecond / 1e12) + percent(row.operationsPerSecond, of: peak) + "  "
                    + percent(row.publishedOperationsPerSecond, of: peak) + "         " + percent(row.operationsPerSecond, of: matrixRate)
                    + String(format: "           %.2f", row.hostSeconds * 1e3))
            if let exact = rows.first(where: { $0.shape == row.shape && $0.precision == .bfloat16 }), row.precision != .bfloat16,
                let cosine = EmbedBenchmark.lowestCosine(row, exact)
            {
                lines.append(
                    String(
                        format: "    %.2f x bf16; lowest cosine of a text with its vector there: %.5f", exact.seconds.median / row.seconds.median,
                        cosine))
            }
            for peer in peers where peer.shape == row.shape.description {
                lines.append(
                    String(
                        format: "    %@: %.3f ms, %@ tok/s; ours %.2f x", peer.name, peer.seconds * 1e3,
                        Format.count(Double(row.shape.tokens) / peer.seconds), peer.seconds / row.seconds.median))
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
}
