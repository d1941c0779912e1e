import CUDA
import Operators
import Synchronization
import Tensors

/// The dense layers of encoder heads on a GPU, in fp32, each uploaded when it is first used.
final class DeviceDenseLayers: Sendable {
    private struct Layer: Sendable {
        let weight: DeviceTensor  // [out, in] fp32
        let bias: DeviceTensor?  // [out] fp32
        /// Keeps the file mapped, so that the address stays that of this matrix.
        let source: WeightMatrix
    }

    private let context: OperatorContext
    private let layers = Mutex<[UInt: Layer]>([:])

    init(_ context: OperatorContext) { self.context = context }

    /// Whether all layers are plain products; a head with tanh, which no current model has, is finished on the CPU.
    static func takes(_ dense: [EncoderHead.Dense]) -> Bool { dense.allSatisfy { $0.activation == .identity } }

    /// `vectors` [S, in] fp32 through all layers, which ``takes(_:)``.
    func apply(_ dense: [EncoderHead.Dense], to vectors: DeviceTensor) throws -> DeviceTensor {
        var vectors = vectors
        for layer in dense {
            let own = try uploaded(layer)
            vectors = try context.gemm(vectors, own.weight, bias: own.bias)
        }
        return vectors
    }

    private func uploaded(_ dense: EncoderHead.Dense) throws -> Layer {
        let key = UInt(bitPattern: dense.weight.base)
        if let layer = layers.withLock({ $0[key] }) { return layer }
        func upload(_ matrix: WeightMatrix, _ shape: [Int]) throws -> DeviceTensor {
            try WeightCheck.requireFinite([matrix])
            let tensor = try context.tensor(.float32, shape)
            try context.stream.upload(matrix.floats, to: tensor.region)
            return tensor
        }
        let layer = Layer(
            weight: try upload(dense.weight, [dense.weight.rows, dense.weight.columns]),
            bias: try dense.bias.map { try upload($0, [dense.weight.rows]) }, source: dense.weight)
        layers.withLock { $0[key] = layer }
        return layer
    }
}
