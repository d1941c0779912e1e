import Foundation
import Operators
import Tensors
import Testing

/// Layers that own weights, on the CPU.
@Suite struct ModuleTests {
    private func withCheckpoint(_ tensors: [(String, HostTensor)], _ body: (SafetensorsCheckpoint) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("apus-operators-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let layouts = try tensors.map { try TensorLayout(name: $0.0, dtype: $0.1.dtype, shape: $0.1.shape) }
        var writer = try SafetensorsWriter(path: folder.appendingPathComponent("model.safetensors").path, tensors: layouts)
        for (name, tensor) in tensors { try writer.append(tensor.data, to: name) }
        try writer.finish()
        try body(try SafetensorsCheckpoint(directory: folder.path))
    }

    @Test func gatedMLPFromACheckpoint() throws {
        let (gate, up) = (try Goldens.tensor("mlp.gate"), try Goldens.tensor("mlp.up"))
        try withCheckpoint([("layers.0.mlp.gate_proj.weight", gate), ("layers.0.mlp.up_proj.weight", up)]) { checkpoint in
            let mlp = try GatedMLP(loading: "layers.0.mlp", from: checkpoint, activation: .geluTanh)
            #expect(mlp.hiddenSize == 33 && mlp.intermediateSize == 13)
            try expect(mlp(Goldens.tensor("mlp.x")), equals: Goldens.tensor("mlp.gelu-tanh"))
            let error = errorOf { _ = try GatedMLP(loading: "layers.1.mlp", from: checkpoint, activation: .silu) }
            #expect(error?.code == .file)
            #expect(error?.message.contains("layers.1.mlp.gate_proj.weight") == true)
        }
    }

    @Test func normFromACheckpoint() throws {
        try withCheckpoint([("q_norm.weight", Goldens.tensor("heads.gemma3.weight"))]) { checkpoint in
            let norm = try RMSNormRoPE(
                loading: "q_norm.weight", from: checkpoint, hiddenSize: 512, headSize: 256, scope: .head, unitOffset: true)
            #expect(norm.headCount == 2)
            let y = try norm(
                Goldens.tensor("heads.gemma3.x"), cosine: Goldens.tensor("heads.gemma3.cos"), sine: Goldens.tensor("heads.gemma3.sin"))
            try expect(y, equals: Goldens.tensor("heads.gemma3.y"), absolute: 3e-6)
            let error = errorOf {
                _ = try RMSNormRoPE(loading: "q_norm.weight", from: checkpoint, hiddenSize: 512, headSize: 128, scope: .head)
            }
            #expect(error?.code == .shape)
            #expect(error?.tensor == "q_norm.weight")
        }
    }

    @Test func sizesAreChecked() throws {
        #expect(errorOf { _ = try RMSNormRoPE(hiddenSize: 64, headSize: 9) }?.code == .argument)
        #expect(errorOf { _ = try RMSNormRoPE(hiddenSize: 64, headSize: 48) }?.code == .argument)
        #expect(errorOf { _ = try RMSNormRoPE(hiddenSize: 0, headSize: 2) }?.code == .argument)
        #expect(errorOf { _ = try RMSNormRoPE(hiddenSize: 64, headSize: 16, epsilon: 0) }?.code == .argument)
        #expect(errorOf { _ = try GatedMLP(hiddenSize: 8, intermediateSize: -1) }?.code == .argument)
        #expect(errorOf { _ = try GatedMLP(gate: .ramp([4, 8]), up: .ramp([5, 8])) }?.code == .shape)
    }

    /// Fresh weights: ones for the norm, and random ones that the seed fixes.
    @Test func freshWeights() throws {
        let norm = try RMSNormRoPE(hiddenSize: 64, headSize: 16)
        #expect(try norm.weight.float32().allSatisfy { $0 == 1 })
        #expect(try RMSNormRoPE(hiddenSize: 64, headSize: 16, unitOffset: true).weight.float32().allSatisfy { $0 == 0 })
        let a = try GatedMLP(hiddenSize: 31, intermediateSize: 77, seed: 3)
        let b = try GatedMLP(hiddenSize: 31, intermediateSize: 77, seed: 3)
        let c = try GatedMLP(hiddenSize: 31, intermediateSize: 77, seed: 4)
        #expect(a.gate.bytes == b.gate.bytes && a.gate.bytes != c.gate.bytes && a.gate.bytes != a.up.bytes)
        let spread = try a.gate.float32().map { Double($0 * $0) }.reduce(0, +) / Double(31 * 77)
        #expect((spread.squareRoot() - 0.02).magnitude < 0.002)
    }

    /// fp8 against the layer in full precision.
    @Test func linearLayer() throws {
        let (x, weight) = (try HostTensor.ramp([2, 3, 64]), try HostTensor.ramp([20, 64], step: 0.13))
        let bias = try HostTensor.ramp([20])
        let y = try FP8Linear.reference(x, weight: weight, bias: bias, outputType: .float32)
        #expect(y.shape == [2, 3, 20])
        let exact = try CPUReference.gemm(x, weight, bias: bias)
        let size = try exact.float32().map { Double($0 * $0) }.reduce(0, +) / 120
        #expect(try Comparison(y, exact, Tolerance(absolute: 0.05 * size.squareRoot(), relative: 0.05)).passes)
    }
}
