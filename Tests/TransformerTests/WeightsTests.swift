import Foundation
import ModelHub
import Tensors
import Testing
import Transformer

@Suite struct WeightsTests {
    private let spec = TransformerSpec(
        vocabularySize: 50, hiddenSize: 16, intermediateSize: 24, queryHeads: 2, keyValueHeads: 1, headDimension: 8,
        layers: [.init(window: nil, rope: .init(base: 10_000)), .init(window: 4, rope: .init(base: 10_000))], normPlacement: .pre,
        normWeightOffset: 0, normEpsilon: 1e-6, hasQueryKeyNorm: true, activation: .silu, attentionScale: 0.35, embeddingScale: nil,
        isBidirectional: false, hasTiedHead: false, maximumPositions: 64)

    private func withFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("apus-weights-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        return try body(folder)
    }

    private var names: TensorNames { Qwen3Family.tensorNames(for: spec) }

    @Test func randomWeightsLoadRunAndRepeat() throws {
        let bytes = try (0..<2).map { _ in
            try withFolder { folder in
                try RandomWeights(spec: spec, seed: 7).write(to: folder, names: names, prefix: "model.")
                let weights = try TransformerWeights(SafetensorsCheckpoint(directory: folder), spec: spec, names: names)
                #expect(weights.byteCount == spec.parameterCount * 2)
                let logits = try CPUExecutor(spec: spec, weights: weights, threads: 1).makeSession().extend([1, 2, 3])
                #expect(logits.count == 50)
                #expect(logits.allSatisfy { $0.isFinite })
                return try Data(contentsOf: URL(fileURLWithPath: folder + "/model.safetensors"))
            }
        }
        #expect(bytes[0] == bytes[1])
    }

    /// Every row has its own factor; what is left out keeps its bits.
    @Test func matricesAreRoundedToCodes() throws {
        try withFolder { folder in
            try RandomWeights(spec: spec, seed: 7).write(to: folder, names: names, prefix: "model.")
            let weights = try TransformerWeights(SafetensorsCheckpoint(directory: folder), spec: spec, names: names)
            let rounded = try weights.roundedToCodes()
            let (before, after) = (weights.layers[1].down.floats, rounded.layers[1].down.floats)
            let columns = spec.intermediateSize
            for row in 0..<spec.hiddenSize {
                let (old, new) = (before[row * columns..<(row + 1) * columns], after[row * columns..<(row + 1) * columns])
                let largest = old.map(\.magnitude).max() ?? 0
                for (x, y) in zip(old, new) {
                    // Half a step of three bits of mantissa, or of the smallest codes.
                    #expect((x - y).magnitude <= max(x.magnitude / 16, largest / 448 * 0x1p-10) * 1.0001)
                    let code = Float8E4M3(y / (largest / 448))
                    #expect(Float(code) * (largest / 448) == y)
                }
                #expect(abs((new.map(\.magnitude).max() ?? 0) / largest - 1) < 1e-6)
            }
            #expect(before != after)
            #expect(rounded.embedding.floats == weights.embedding.floats && rounded.finalNorm.floats == weights.finalNorm.floats)
            #expect(rounded.layers[0].queryNorm?.floats == weights.layers[0].queryNorm?.floats)
            let logits = try CPUExecutor(spec: spec, weights: rounded, threads: 1).makeSession().extend([1, 2, 3])
            let plain = try CPUExecutor(spec: spec, weights: weights, threads: 1).makeSession().extend([1, 2, 3])
            #expect(logits.allSatisfy { $0.isFinite } && logits != plain)
        }
    }

    @Test func randomWeightsAreShardedOnRequest() throws {
        try withFolder { folder in
            try RandomWeights(spec: spec, seed: 7, dtype: .float32).write(
                to: folder, names: names, prefix: "", maximumShardByteCount: 6000)
            #expect(!FileManager.default.fileExists(atPath: folder + "/model.safetensors"))
            let weights = try TransformerWeights(SafetensorsCheckpoint(directory: folder), spec: spec, names: names)
            #expect(weights.byteCount == spec.parameterCount * 4)
        }
    }

    @Test func theSeedChangesEveryNumberAndTheMomentsHold() throws {
        let values = try [UInt64(1), 2].map { seed in
            let data = try RandomWeights(spec: spec, seed: seed, deviation: 1, dtype: .float32).bytes(of: "x", isNorm: false, range: 0..<40_000)
            return try HostTensor(dtype: .float32, shape: [40_000], data: data).float32()
        }
        #expect(zip(values[0], values[1]).filter { $0.0 == $0.1 }.count < 20)
        let mean = values[0].reduce(0, +) / 40_000
        let variance = values[0].reduce(0) { $0 + $1 * $1 } / 40_000
        #expect(abs(mean) < 0.02)
        #expect(abs(variance - 1) < 0.02)
    }

    @Test func faultsNameTheTensor() throws {
        func message(_ change: (inout [(name: String, tensor: HostTensor)]) throws -> Void) throws -> String {
            try withFolder { folder in
                var tensors: [(name: String, tensor: HostTensor)] = try names.inventory(of: spec).map {
                    ("model." + $0.name, try HostTensor([Float](repeating: 0.5, count: $0.shape.reduce(1, *)), shape: $0.shape))
                }
                tensors.append(("lm_head.weight", try HostTensor([Float](repeating: 0.5, count: 50 * 16), shape: [50, 16])))
                try change(&tensors)
                try SafetensorsWriter.write(tensors, to: folder + "/model.safetensors")
                let error = #expect(throws: TransformerError.self) {
                    _ = try TransformerWeights(SafetensorsCheckpoint(directory: folder), spec: spec, names: names)
                }
                return error?.message ?? ""
            }
        }
        #expect(try message { $0.removeAll { $0.name == "model.layers.1.mlp.up_proj.weight" } }.contains("model.layers.1.mlp.up_proj.weight"))
        #expect(try message { $0[0].tensor = try HostTensor([Float](repeating: 0, count: 32), shape: [2, 16]) }.contains("[2, 16]"))
        #expect(try message { $0.append(("model.layers.2.mlp.up_proj.weight", try HostTensor([1], shape: [1]))) }.contains("layers.2"))
        #expect(try message { $0.append(("model.layers.0.self_attn.q_proj.bias", try HostTensor([1], shape: [1]))) }.contains("q_proj.bias"))
        #expect(
            try message { $0[1].tensor = try HostTensor(dtype: .int8, shape: [16], data: Data(repeating: 0, count: 16)) }.contains("I8"))
    }
}
