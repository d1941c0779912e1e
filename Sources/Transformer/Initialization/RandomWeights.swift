import Dispatch
package import Foundation
import Synchronization
package import Tensors

/// Seeded random weights for a spec, written as a checkpoint: the same seed gives the same bytes on every machine.
package struct RandomWeights: Sendable {
    package let spec: TransformerSpec
    package let seed: UInt64
    /// Standard deviation of matrices (`initializer_range`).
    package let deviation: Float
    package let dtype: DType

    /// - Parameter dtype: F32, F16 or BF16.
    package init(spec: TransformerSpec, seed: UInt64, deviation: Float = 0.02, dtype: DType = .bfloat16) throws {
        guard [.float32, .float16, .bfloat16].contains(dtype) else {
            throw TransformerError(.unsupportedType, "random weights are written as F32, F16 or BF16, not \(dtype.safetensorsName)")
        }
        self.spec = spec
        self.seed = seed
        self.deviation = deviation
        self.dtype = dtype
    }

    /// Names and shapes of the tensors under `prefix`, in the order of ``TensorNames/inventory(of:)``.
    private func tensors(_ names: TensorNames, prefix: String) -> [(name: String, shape: [Int])] {
        var all = names.inventory(of: spec).map { (prefix + $0.name, $0.shape) }
        if !spec.hasTiedHead { all.append((names.heads[0], [spec.vocabularySize, spec.hiddenSize])) }
        return all
    }

    /// Writes the checkpoint into `directory`.
    ///
    /// - Parameters:
    ///   - prefix: `model.` for a causal language model, nothing for a bare encoder.
    ///   - progress: called with bytes written and bytes in all.
    package func write(
        to directory: String, names: TensorNames, prefix: String, maximumShardByteCount: Int? = nil,
        progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
    ) throws {
        let tensors = tensors(names, prefix: prefix)
        let layouts = try tensors.map { try TensorLayout(name: $0.name, dtype: dtype, shape: $0.shape) }
        let total = layouts.reduce(0) { $0 + $1.byteCount }
        var writer = try SafetensorsCheckpointWriter(directory: directory, tensors: layouts, maximumShardByteCount: maximumShardByteCount)
        var done = 0
        for (name, shape) in tensors {
            let count = shape.reduce(1, *)
            for first in stride(from: 0, to: count, by: Self.chunk) {
                let bytes = bytes(of: name, isNorm: shape.count == 1, range: first..<min(first + Self.chunk, count))
                try writer.append(bytes, to: name)
                done += bytes.count
                progress(done, total)
            }
        }
        try writer.finish()
    }

    private static let chunk = 1 << 22

    /// Elements `range` of a tensor. Norm weights lie around their neutral value, so that a wrong norm shows.
    package func bytes(of name: String, isNorm: Bool, range: Range<Int>) -> Data {
        let numbers = RandomNumbers(seed: seed, stream: name)
        let (deviation, mean): (Float, Float) = isNorm ? (0.1, 1 - spec.normWeightOffset) : (deviation, 0)
        let parts = 8
        let slices = Mutex([Data](repeating: Data(), count: parts))
        DispatchQueue.concurrentPerform(iterations: parts) { part in
            let slice = range.lowerBound + range.count * part / parts..<range.lowerBound + range.count * (part + 1) / parts
            let bytes = dtype.encode(slice.lazy.map { numbers.normal($0) * deviation + mean }, count: slice.count)
            slices.withLock { $0[part] = bytes }
        }
        return slices.withLock { $0.reduce(into: Data()) { $0 += $1 } }
    }
}

extension DType {
    /// Little-endian bytes of fp32 values in this type, which is F32, F16 or BF16.
    fileprivate func encode(_ values: some Sequence<Float>, count: Int) -> Data {
        func data<Element>(_ elements: [Element]) -> Data { elements.withUnsafeBytes { Data($0) } }
        switch self {
        case .float32: return data(values.map { $0.bitPattern.littleEndian })
        case .float16: return data(values.map { Float16($0).bitPattern.littleEndian })
        default: return data(values.map { BFloat16($0).bitPattern.littleEndian })
        }
    }
}
