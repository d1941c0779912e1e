import Apus
import Benchmarking
import Foundation

/// What `bench decode` prints for people, line by line; files are written by the suite's report.
struct DecodeReport {
    /// Bytes a second, measured in the same run; nil where nobody did.
    let readRate: Spread?
    /// Seconds of an exchange between all blocks with nothing beside it; nil without a resident kernel.
    let exchange: Spread?

    static let header = "context    us (p10, p90)               tok/s     GB/s   of the reads"

    var readLine: String? {
        readRate.map { String(format: "reads alone: %.2f TB/s (%.2f to %.2f)", $0.median / 1e12, $0.p10 / 1e12, $0.p90 / 1e12) }
    }

    var exchangeLine: String? {
        exchange.map { String(format: "an exchange between all blocks, alone: %.2f us (%.2f to %.2f)", $0.median * 1e6, $0.p10 * 1e6, $0.p90 * 1e6) }
    }

    func lines(_ row: DecodeBenchmark.Row) -> [String] {
        let time = String(format: "%.1f (%.1f, %.1f)", row.seconds.median * 1e6, row.seconds.p10 * 1e6, row.seconds.p90 * 1e6)
        let share = readRate.map { String(format: "%5.1f %%", 100 * row.bytesPerSecond / $0.median) } ?? "    -"
        let note = DecodeBenchmark.note(row, readRate: readRate?.median)
        return [
            "\(row.context)".padding(toLength: 9, withPad: " ", startingAt: 0) + "  " + time.padding(toLength: 24, withPad: " ", startingAt: 0)
                + String(format: " %8.1f  %7.1f   ", row.tokensPerSecond, row.bytesPerSecond / 1e9) + share + (note.isEmpty ? "" : "   " + note)
        ]
    }

    static func line(_ row: SpeculationBenchmark.Row) -> String {
        String(
            format:
                "guessing %d at %d: %.1f us a token (%.1f, %.1f), plain %.1f (%.1f, %.1f): %.2f x; %.2f tokens a step, %.0f %% of %d guesses kept%@",
            row.guesses, row.context, row.guessed.median * 1e6, row.guessed.p10 * 1e6, row.guessed.p90 * 1e6, row.plain.median * 1e6,
            row.plain.p10 * 1e6, row.plain.p90 * 1e6, row.gain, row.speculation.tokensPerStep, 100 * row.speculation.acceptance,
            row.speculation.guessed, row.differences > 0 ? "; OTHER TOKENS: \(row.differences)" : "")
            + (row.speculation.guessed == 0
                ? "; no guess was made: the text never repeated itself, or the host chooses its tokens (docs/decode.md, Drawing)" : "")
    }

    func line(_ form: DecodeBenchmark.FormRow, rows: [DecodeBenchmark.Row]) -> String? {
        guard let row = rows.first(where: { $0.context == form.context }), let spread = Spread(form.samples) else { return nil }
        return String(format: "%@ at %d: %.1f us (%.1f, %.1f), ", form.name, form.context, spread.median * 1e6, spread.p10 * 1e6, spread.p90 * 1e6)
            + "\(DecodeBenchmark.difference(form, from: row)), \(form.agreementText)"
    }

    func line(_ peer: DecodeBenchmark.PeerFigure, rows: [DecodeBenchmark.Row]) -> String? {
        guard let row = rows.first(where: { $0.context == peer.context }), let spread = Spread(peer.samples), spread.median > 0 else { return nil }
        return String(
            format: "%@ at %d: %.1f us, %.1f tok/s; ours %.2f x", peer.name, peer.context, spread.median * 1e6, 1 / spread.median,
            spread.median / row.seconds.median)
    }
}
