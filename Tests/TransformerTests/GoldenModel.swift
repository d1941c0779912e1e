import Foundation
import JSON
import ModelHub
import Tensors
import Transformer

/// A model folder of `Goldens` with the reference outputs that transformers computed for it.
struct GoldenModel {
    let name: String
    let spec: TransformerSpec
    let weights: TransformerWeights
    let sequences: [[Int32]]
    /// `[sum of lengths, V]`, nil for an encoder.
    let logits: [Float]?
    /// `[sum of lengths, C]` behind the final norm.
    let hidden: [Float]

    static let decoders = [
        "qwen3-tied", "qwen3-untied-bf16", "qwen3-gqa8-sharded", "qwen3-window-fp16", "gemma3-window", "gemma3-bf16-untied",
        "gemma3-version4-keys", "gemma3-linear-rope",
    ]
    static let encoders = ["qwen3-encoder", "gemma3-encoder", "gemma3-bidirectional"]

    static func path(_ name: String) throws -> String {
        guard let path = Bundle.module.resourceURL?.appendingPathComponent("Goldens/\(name)").path else { throw CocoaError(.fileNoSuchFile) }
        return path
    }

    init(_ name: String, changing change: (inout TransformerSpec) -> Void = { _ in }) throws {
        self.name = name
        let path = try Self.path(name)
        let configuration = try ModelConfiguration(folder: ModelFolder(path: path))
        let family = try ModelFamilies.family(of: configuration)
        var spec = try family.spec(from: configuration)
        change(&spec)
        self.spec = spec
        weights = try TransformerWeights(SafetensorsCheckpoint(directory: path), spec: spec, names: family.tensorNames(for: spec))
        let ids = try JSONValue(parsing: [UInt8](Data(contentsOf: URL(fileURLWithPath: path + "/ids.json"))))
        sequences = (ids.arrayValue ?? []).map { ($0.arrayValue ?? []).compactMap(\.integerValue).map(Int32.init) }
        hidden = try NPY.read(contentsOf: path + "/hidden.npy").float32()
        logits = Self.decoders.contains(name) ? try NPY.read(contentsOf: path + "/logits.npy").float32() : nil
    }

    func executor(threads: Int = 2) throws -> CPUExecutor { try CPUExecutor(spec: spec, weights: weights, threads: threads) }

    /// Rows of `values [sum of lengths, width]` that belong to a sequence.
    func rows(of sequence: Int, in values: [Float], width: Int) -> ArraySlice<Float> {
        let start = sequences[..<sequence].reduce(0) { $0 + $1.count }
        return values[start * width..<(start + sequences[sequence].count) * width]
    }
}

/// Largest difference over the reference's standard deviation.
func relativeError(_ actual: some Collection<Float>, _ expected: some Collection<Float>) -> Float {
    guard actual.count == expected.count, !expected.isEmpty else { return .infinity }
    let mean = expected.reduce(0, +) / Float(expected.count)
    let deviation = (expected.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Float(expected.count)).squareRoot()
    return zip(actual, expected).reduce(0) { max($0, abs($1.0 - $1.1)) } / deviation
}

func cosine(_ a: some Collection<Float>, _ b: some Collection<Float>) -> Double {
    func dot(_ x: some Collection<Float>, _ y: some Collection<Float>) -> Double { zip(x, y).reduce(0) { $0 + Double($1.0) * Double($1.1) } }
    return dot(a, b) / (dot(a, a) * dot(b, b)).squareRoot()
}
