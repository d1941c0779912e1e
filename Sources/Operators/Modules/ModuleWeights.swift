import CUDA
import Foundation
import Tensors

/// Weights that the layers of this folder read, checked for type and shape.
enum ModuleWeights {
    /// A tensor of a checkpoint.
    static func load(
        _ operation: String, _ name: String, _ shape: [Int]?, from checkpoint: SafetensorsCheckpoint
    ) throws(OperatorError) -> HostTensor {
        let tensor = try OperatorError.wrapFile(operation) { () throws(TensorError) in try checkpoint.tensor(name) }
        try check(operation, name, tensor, shape)
        return tensor
    }

    static func check(_ operation: String, _ name: String, _ tensor: HostTensor, _ shape: [Int]?) throws(OperatorError) {
        let check = ArgumentCheck(operation, on: .host)
        let operand = Operand(name, tensor)
        try check.type(operand, ArgumentCheck.floats)
        if let shape { try check.shape(operand, shape, "as the layer was made") }
    }

    static func positive(_ operation: String, _ sizes: (name: String, value: Int)...) throws(OperatorError) {
        for size in sizes where size.value < 1 {
            throw .argument(operation, size.name, expected: "1 and more", actual: "\(size.value)")
        }
    }

    /// Uploads a tensor where the layer runs on a GPU.
    static func upload(_ tensor: HostTensor, to context: OperatorContext?) throws(OperatorError) -> DeviceTensor? {
        guard let context else { return nil }
        return try context.upload(tensor)
    }

    /// The context of a layer that was made for the GPU.
    static func require(_ context: OperatorContext?, _ operation: String) throws(OperatorError) -> OperatorContext {
        guard let context else {
            throw OperatorError(
                .device, in: operation, expected: "cpu", actual: "a tensor of the GPU",
                "this layer was made without a context and runs on the CPU only")
        }
        return context
    }
}
