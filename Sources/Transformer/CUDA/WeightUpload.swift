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
    /// Types of matrices that were rounded to bf16.
    private(set) var roundedTypes: Set<String> = []

    init(arena: DeviceArena, stream: Stream) {
        self.arena = arena
        self.stream = stream
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
            try Self.withBrainFloats(part, folding: factors) { try stream.upload($0, to: tensor.slice(0, row..<row + part.rows).region) }
            row += part.rows
        }
        return tensor
    }

    /// Gate and up interleaved eight rows at a time.
    mutating func gated(_ gate: WeightMatrix, _ up: WeightMatrix, folding factors: [Float]? = nil, at offset: Int) throws -> PackedGatedWeights {
        let (rows, columns) = (gate.rows, gate.columns)
        let tensor = try arena.tensor(.bfloat16, [rows / 8, 2, 8, columns], at: offset)
        let block = 8 * columns * 2
        let packed = UnsafeMutableRawBufferPointer.allocate(byteCount: 2 * rows * columns * 2, alignment: 64)
        defer { packed.deallocate() }
        for (half, matrix) in [gate, up].enumerated() {
            note(matrix)
            Self.withBrainFloats(matrix, folding: factors) { source in
                for group in 0..<rows / 8 {
                    packed[(2 * group + half) * block..<(2 * group + half + 1) * block].copyBytes(from: source[group * block..<(group + 1) * block])
                }
            }
        }
        try stream.upload(UnsafeRawBufferPointer(packed), to: tensor.region)
        // The copy may still read what it was given until the stream has passed it.
        try stream.synchronize()
        return PackedGatedWeights(tensor, intermediateSize: rows)
    }

    /// Gate and up in bf16, interleaved eight rows at a time, in the order that products of codes take: see Kernels/Operators/GemmHopper.cu.
    static func gatedForCodes(_ gate: WeightMatrix, _ up: WeightMatrix, to tensor: DeviceTensor, on stream: Stream) throws {
        let row = gate.columns * 2
        let packed = UnsafeMutableRawBufferPointer.allocate(byteCount: 2 * gate.rows * row, alignment: 64)
        defer { packed.deallocate() }
        for (half, matrix) in [gate, up].enumerated() {
            withBrainFloats(matrix, folding: nil) { source in
                for output in 0..<matrix.rows {
                    let place = GatedCodeOrder.place(output)
                    let target = (place / 8 * 16 + half * 8 + place % 8) * row
                    packed[target..<target + row].copyBytes(from: source[output * row..<(output + 1) * row])
                }
            }
        }
        try stream.upload(UnsafeRawBufferPointer(packed), to: tensor.region)
        // The copy may still read what it was given until the stream has passed it.
        try stream.synchronize()
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

    /// The matrix in bf16: as it lies in the file, or rounded.
    private static func withBrainFloats(
        _ matrix: WeightMatrix, folding factors: [Float]?, _ body: (UnsafeRawBufferPointer) throws -> Void
    ) rethrows {
        if matrix.type == APUS_BF16, factors == nil { return try body(matrix.bytes) }
        var values = matrix.floats
        if let factors { for index in values.indices { values[index] *= factors[index % factors.count] } }
        let bits = values.map { BFloat16($0).bitPattern.littleEndian }
        try bits.withUnsafeBytes(body)
    }
}

/// Where products of codes want the weights of an output, so that their results come in order.
package enum GatedCodeOrder {
    /// Output 16 i + 4 q + e comes from place 16 i + 2 q + e, for e above 1 from 16 i + 2 q + e + 6.
    package static func place(_ output: Int) -> Int {
        let (q, e) = (output % 16 / 4, output % 4)
        return output / 16 * 16 + 2 * q + (e < 2 ? e : e + 6)
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
        switch type {
        case APUS_F32: firstFull(UInt32.self, 0x7f80_0000, range)
        case APUS_F16: firstFull(UInt16.self, 0x7c00, range)
        default: firstFull(UInt16.self, 0x7f80, range)
        }
    }

    private func firstFull<Bits: FixedWidthInteger & BitwiseCopyable>(_: Bits.Type, _ exponent: Bits, _ range: Range<Int>) -> Int? {
        let size = MemoryLayout<Bits>.size
        func isFull(_ index: Int) -> Bool {
            Bits(littleEndian: base.loadUnaligned(fromByteOffset: index * size, as: Bits.self)) & exponent == exponent
        }
        // Without a way out of the loop, so that it can be vectorised; the place is looked for only where there is one.
        var found: Bits = 0
        for index in range { found |= isFull(index) ? 1 : 0 }
        return found == 0 ? nil : range.first(where: isFull)
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
