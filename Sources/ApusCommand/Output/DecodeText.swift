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
        guard let report, let mode = mode(report) else { return cpuLine(model.executor, session) }
        var parts: [String] = []
        if let device = model.executor as? CUDAExecutor {
            parts.append("weights \(Format.bytes(device.weights.byteCount))")
            if report.isResident, report.byteCount > 0 {
                parts.append("a second copy of them, packed as \(device.decodeWeights.rawValue), \(Format.bytes(report.byteCount))")
            }
        }
        parts.append(cache(model.executor, session))
        if let device = model.executor as? CUDAExecutor, device.cacheRowByteCount > 0 {
            parts.append("a layer's rows of it in bf16 \(Format.bytes(device.cacheRowByteCount))")
        }
        return "tokens: \(mode); memory: " + parts.joined(separator: ", ")
    }

    /// What a position of a text takes, and in which form.
    static func cacheFormat(_ model: LoadedModel) -> String {
        let (spec, format) = (model.spec, model.executor.cacheFormat)
        let layers = spec.layers.count
        guard model.executor is CUDAExecutor else {
            let bytes = 2 * layers * spec.keyValueHeads * spec.headDimension * MemoryLayout<Float>.stride
            return "\(Format.bytes(bytes)) a position in fp32\(format == .float8 ? ", rounded to fp8" : "")"
        }
        return "\(Format.bytes(format.byteCount(spec) * layers)) a position in \(format.rawValue)"
    }

    private static func cache(_ executor: any ModelExecutor, _ session: any DecoderSession) -> String {
        "\(executor.cacheFormat == .float8 ? "fp8 cache" : "cache") \(Format.bytes(session.cacheByteCount))"
    }

    /// On a CPU there is something to say of the cache's form only.
    private static func cpuLine(_ executor: any ModelExecutor, _ session: any DecoderSession) -> String? {
        guard executor.cacheFormat == .float8 else { return nil }
        return "memory: cache \(Format.bytes(session.cacheByteCount)), rounded to fp8 and kept in fp32"
    }
}
