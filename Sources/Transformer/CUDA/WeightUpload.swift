import CCPUKernels
import CUDA
import Dispatch
import Operators
import Synchronization
import Tensors

/// Puts weights from a mapped checkpoint into an arena, rounded to what the kernels take.
///
/// Pointers into the mapping are safe: a `WeightMatrix` keeps its file mapped, and every copy is complete, or staged by the driver, when it returns.
struct WeightUpload {
    let arena: DeviceArena
    let stream: Stream
    private let staging: WeightStaging
    /// Types of matrices that were rounded to bf16.
    private(set) var roundedTypes: Set<String> = []

    init(arena: DeviceArena, stream: Stream) {
        self.arena = arena
        self.stream = stream
        staging = WeightStaging(stream: stream)
    }

    /// Matrices with the same columns, one behind the other, in bf16.
    ///
    /// - Parameter factors: of the columns.
    mutating func matrix(_ parts: [WeightMatrix], folding factors: [Float]? = nil, at offset: Int) throws -> DeviceTensor {
        let columns = parts[0].columns
        let tensor = try arena.tensor(.bfloat16, [parts.reduce(0) { $0 + $1.rows }, columns], at: offset)
        var row = 0
        for part in parts {
            note(part)
            let region = try tensor.slice(0, row..<row + part.rows).region
            if part.type == APUS_BF16, factors == nil {
                try stream.upload(part.bytes, to: region)
            } else {
                try staging.upload(BrainFloatRows(part, folding: factors), to: region)
            }
            row += part.rows
        }
        return tensor
    }

    /// Gate and up interleaved eight rows at a time.
    mutating func gated(_ gate: WeightMatrix, _ up: WeightMatrix, folding factors: [Float]? = nil, at offset: Int) throws -> PackedGatedWeights {
        let tensor = try arena.tensor(.bfloat16, [gate.rows / 8, 2, 8, gate.columns], at: offset)
        note(gate)
        note(up)
        try staging.upload(BrainFloatRows(gate: gate, up: up, folding: factors), to: tensor.region)
        return PackedGatedWeights(tensor, intermediateSize: gate.rows)
    }

    private mutating func note(_ matrix: WeightMatrix) {
        if matrix.type != APUS_BF16 { roundedTypes.insert(matrix.typeName) }
    }

    /// A vector in fp32.
    func vector(_ matrix: WeightMatrix, at offset: Int) throws -> DeviceTensor {
        let tensor = try arena.tensor(.float32, [matrix.columns], at: offset)
        try stream.upload(matrix.floats, to: tensor.region)
        return tensor
    }
}

extension WeightMatrix {
    /// All elements in fp32.
    package var floats: [Float] {
        [Float](unsafeUninitializedCapacity: rows * columns) { buffer, count in
            if let target = buffer.baseAddress { apus_to_float(rows * columns, base, type, target) }
            count = rows * columns
        }
    }
}

/// The look at the weights before a GPU gets them: a kernel's maximum or comparison may swallow a NaN, and a wrong vector would leave.
package enum WeightCheck {
    private static let pieceByteCount = 4 << 20

    /// - Throws: ``TransformerError`` with code `nonFinite` naming the first tensor and element that is NaN or infinite.
    package static func requireFinite(_ matrices: [WeightMatrix]) throws {
        var pieces: [(matrix: Int, range: Range<Int>)] = []
        for (index, matrix) in matrices.enumerated() {
            let count = matrix.rows * matrix.columns
            let step = pieceByteCount / matrix.elementByteCount
            for first in stride(from: 0, to: count, by: step) { pieces.append((index, first..<min(first + step, count))) }
        }
        let all = pieces
        let bad = Mutex<(matrix: Int, element: Int)?>(nil)
        // On all cores: reading half a gigabyte of pages costs more than looking at them.
        DispatchQueue.concurrentPerform(iterations: all.count) { index in
            let (matrix, range) = all[index]
            guard let element = matrices[matrix].firstNonFinite(in: range) else { return }
            bad.withLock { bad in
                if bad.map({ (matrix, element) < ($0.matrix, $0.element) }) ?? true { bad = (matrix, element) }
            }
        }
        if let (matrix, element) = bad.withLock({ $0 }) {
            throw TransformerError(
                .nonFinite, "tensor '\(matrices[matrix].name)' holds NaN or infinity at element \(element); the checkpoint is damaged")
        }
    }
}

extension WeightMatrix {
    /// The first element of a range whose exponent is all ones.
    fileprivate func firstNonFinite(in range: Range<Int>) -> Int? {
        if apus_is_finite(range.count, base + range.lowerBound * elementByteCount, type) { return nil }
        return range.first { !apus_is_finite(1, base + $0 * elementByteCount, type) }
    }
}

extension TransformerWeights {
    /// Every tensor, in the order of a forward pass.
    package var all: [WeightMatrix] {
        var all = [embedding]
        for layer in layers {
            all += [layer.attentionNorm, layer.query, layer.key, layer.value]
            all += [layer.queryNorm, layer.keyNorm].compactMap { $0 }
            all += [layer.output] + [layer.attentionOutputNorm].compactMap { $0 }
            all += [layer.feedForwardNorm, layer.gate, layer.up, layer.down] + [layer.feedForwardOutputNorm].compactMap { $0 }
        }
        all.append(finalNorm)
        if let head, head.base != embedding.base { all.append(head) }
        return all
    }
}
