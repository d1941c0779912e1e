import CUDA
import Operators
import Tensors

/// A piece of a decoder layer with the operators of Apus: norm, query projection, QK-norm with rotation, causal attention, gated MLP.
///
/// It runs on the GPU and on the CPU reference and says how far the two are apart; without a GPU it says so and runs on the CPU alone.
@main
struct OperatorsExample {
    static func main() throws {
        let layer = try Layer(tokens: 48, hidden: 128, heads: 2, headSize: 64, intermediate: 256)
        let expected = try layer.onCPU()
        print("CPU reference: \(expected.shape) \(expected.dtype), first values \(try expected.float32().prefix(4).map { $0 })")

        let context: OperatorContext
        do {
            context = try OperatorContext(ordinal: 0)
        } catch {
            print("The GPU part is left out: \(error.message)")
            return
        }
        let actual = try context.download(layer.onGPU(context))
        // bf16 between the steps: each rounds to 8 bits.
        let comparison = try Comparison(actual, expected, Tolerance(absolute: 2e-2, relative: 2e-2))
        print(
            "\(context.device): largest error \(comparison.maximumAbsoluteError), \(comparison.violationCount) of \(comparison.count) beyond \(comparison.tolerance)"
        )
        if !comparison.passes { fatalError("the GPU's result is wrong: \(comparison.firstBad.map { "\($0)" } ?? "")") }
    }
}

/// Weights and input of the piece, made up.
struct Layer {
    let tokens: Int
    let heads: Int
    let headSize: Int
    let x: HostTensor
    let norm: HostTensor
    let query: HostTensor
    let headNorm: HostTensor
    let cosine: HostTensor
    let sine: HostTensor
    let mlp: GatedMLP

    init(tokens: Int, hidden: Int, heads: Int, headSize: Int, intermediate: Int) throws {
        self.tokens = tokens
        self.heads = heads
        self.headSize = headSize
        var generator = Numbers()
        x = try generator.tensor([tokens, hidden])
        norm = try generator.tensor([hidden], around: 1)
        query = try generator.tensor([heads * headSize, hidden], scale: 0.1)
        headNorm = try generator.tensor([headSize], around: 1)
        let angles = (0..<tokens * headSize).map { index -> Float in
            let (token, element) = (index / headSize, index % (headSize / 2))
            return Float(token) * Float(element + 1) * 0.01
        }
        cosine = try HostTensor(angles.map(Layer.cosine), shape: [tokens, headSize])
        sine = try HostTensor(angles.map { Layer.cosine($0 - .pi / 2) }, shape: [tokens, headSize])
        mlp = try GatedMLP(
            gate: generator.tensor([intermediate, heads * headSize], scale: 0.5), up: generator.tensor([intermediate, heads * headSize], scale: 0.5),
            activation: .geluTanh)
    }

    func onCPU() throws -> HostTensor {
        let normalized = try CPUReference.rmsNorm(x, weight: norm)
        let q = try CPUReference.gemm(normalized, query)
        let split = try HostTensor(dtype: q.dtype, shape: [tokens, heads, headSize], data: q.data)
        let rotated = try CPUReference.rmsNormRoPE(split, weight: headNorm, cosine: cosine, sine: sine, scope: .head)
        let o = try CPUReference.attention(rotated, rotated, split, mask: .causal)
        return try mlp(HostTensor(dtype: o.dtype, shape: [tokens, heads * headSize], data: o.data))
    }

    func onGPU(_ context: OperatorContext) throws -> DeviceTensor {
        let normalized = try context.rmsNorm(context.upload(x), weight: context.upload(norm))
        let split = try context.gemm(normalized, context.upload(query)).split(1, into: (heads, headSize))
        let rotated = try context.rmsNormRoPE(
            split, weight: context.upload(headNorm), cosine: context.upload(cosine), sine: context.upload(sine), scope: .head)
        let o = try context.attention(rotated, rotated, split, mask: .causal)
        let layer = try GatedMLP(gate: mlp.gate, up: mlp.up, activation: mlp.activation, on: context)
        return try layer(o.reshaped([tokens, heads * headSize]))
    }

    /// A cosine without a maths library: enough for an example.
    private static func cosine(_ angle: Float) -> Float {
        let turns = (angle / (2 * .pi)).rounded()
        let x = angle - turns * 2 * .pi
        let squared = x * x
        var (term, sum) = (Float(1), Float(1))
        for step in stride(from: Float(1), through: 15, by: 2) {
            term *= -squared / (step * (step + 1))
            sum += term
        }
        return sum
    }
}

/// Numbers between -1 and 1 that are the same in every run.
struct Numbers {
    private var state: UInt32 = 1

    mutating func tensor(_ shape: [Int], scale: Float = 1, around mean: Float = 0) throws -> HostTensor {
        let values = (0..<shape.reduce(1, *)).map { _ -> Float in
            state = state &* 1_664_525 &+ 1_013_904_223
            return mean + scale * 0.5 * (Float(state >> 8) / Float(1 << 23) - 1)
        }
        return try HostTensor(values, shape: shape, as: .bfloat16)
    }
}
