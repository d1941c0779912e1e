import Apus
import Transformer

/// How a model's single tokens are computed, for people.
enum DecodeText {
    /// "resident kernel" or "layer by layer", and why; nil where there is one way only.
    static func mode(_ report: DecodeForm?) -> String? {
        guard let report else { return nil }
        guard !report.isResident else { return "resident kernel" }
        return "layer by layer" + (report.reason.map { ", since \($0)" } ?? "")
    }

    /// With the memory that it takes.
    static func line(_ model: LoadedModel, _ session: any DecoderSession) -> String? {
        let report = model.executor.decodeForm
        guard let report, let mode = mode(report) else { return nil }
        var parts: [String] = []
        if let device = model.executor as? CUDAExecutor {
            parts.append("weights \(Format.bytes(device.weights.byteCount))")
            if report.isResident, report.byteCount > 0 {
                parts.append("a second copy of them, packed as \(device.decodeWeights.rawValue), \(Format.bytes(report.byteCount))")
            }
        }
        return "tokens: \(mode); memory: " + (parts + ["cache \(Format.bytes(session.cacheByteCount))"]).joined(separator: ", ")
    }
}
