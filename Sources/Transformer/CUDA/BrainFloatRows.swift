import CCPUKernels
import Dispatch

/// Rows of weights in bf16, in the order that a kernel takes them: as they lie in the file, or multiplied by factors and rounded.
///
/// Any range of them can be made without the others, in one pass over the file's bytes and on all processors.
///
/// The pointers are safe: `matrices` keeps the files mapped.
package struct BrainFloatRows: @unchecked Sendable {
    private struct Source {
        let base: UnsafeRawPointer
        let type: apus_dtype
        let rowByteCount: Int
    }

    private enum Order {
        /// One matrix.
        case plain
        /// Gate and up interleaved eight rows at a time.
        case gated
        /// The same with the rows of each as ``GatedCodeOrder`` places them.
        case gatedForCodes
    }

    package let count: Int
    package let columns: Int
    private let order: Order
    private let matrices: [WeightMatrix]
    /// Beside `matrices`, whose elements would be counted whenever a thread takes one.
    private let sources: [Source]
    /// Of the columns; empty for ones.
    private let factors: [Float]

    package var rowByteCount: Int { columns * 2 }

    package init(_ matrix: WeightMatrix, folding factors: [Float]? = nil) { self.init([matrix], .plain, factors) }

    /// Gate and up of the same shape, whose rows are whole eights.
    package init(gate: WeightMatrix, up: WeightMatrix, folding factors: [Float]? = nil) { self.init([gate, up], .gated, factors) }

    /// Gate and up of the same shape, whose rows are whole sixteens, in the order that products of codes take: see Kernels/Operators/GemmHopper.cu.
    package init(gateForCodes gate: WeightMatrix, up: WeightMatrix) { self.init([gate, up], .gatedForCodes, nil) }

    private init(_ matrices: [WeightMatrix], _ order: Order, _ factors: [Float]?) {
        count = matrices.reduce(0) { $0 + $1.rows }
        columns = matrices[0].columns
        self.order = order
        self.matrices = matrices
        sources = matrices.map { Source(base: $0.base, type: $0.type, rowByteCount: $0.columns * $0.elementByteCount) }
        self.factors = factors ?? []
        precondition(matrices.allSatisfy { $0.columns == columns && $0.rows == matrices[0].rows } && (factors?.count ?? columns) == columns)
        precondition(count % (order == .plain ? 1 : order == .gated ? 16 : 32) == 0)
    }

    /// Elements that a thread makes at a time: far more work than it takes to hand them out.
    private static let blockElementCount = 1 << 16

    /// Makes the rows `range`.
    ///
    /// - Parameter target: `[range.count, columns]` bf16, row-major.
    package func write(_ range: Range<Int>, to target: UnsafeMutableRawBufferPointer) {
        precondition(range.lowerBound >= 0 && range.upperBound <= count && target.count == range.count * rowByteCount)
        guard let base = target.baseAddress else { return }
        // Each thread writes rows of its own.
        nonisolated(unsafe) let start = base
        let step = max(1, Self.blockElementCount / columns)
        factors.withUnsafeBufferPointer { factors in
            nonisolated(unsafe) let factors = factors.isEmpty ? nil : factors.baseAddress
            DispatchQueue.concurrentPerform(iterations: (range.count + step - 1) / step) { block in
                for index in block * step..<min((block + 1) * step, range.count) {
                    let (matrix, row) = place(range.lowerBound + index)
                    let source = sources[matrix]
                    let result = (start + index * rowByteCount).assumingMemoryBound(to: UInt16.self)
                    apus_to_bfloat16(columns, source.base + row * source.rowByteCount, source.type, factors, result)
                }
            }
        }
    }

    /// Where a row comes from.
    private func place(_ row: Int) -> (matrix: Int, row: Int) {
        switch order {
        case .plain: (0, row)
        case .gated: (row / 8 % 2, row / 16 * 8 + row % 8)
        case .gatedForCodes: (row / 8 % 2, GatedCodeOrder.output(row / 16 * 8 + row % 8))
        }
    }
}

/// Where products of codes want the weights of an output, so that their results come in order.
package enum GatedCodeOrder {
    /// Output 16 i + 4 q + e comes from place 16 i + 2 q + e, for e above 1 from 16 i + 2 q + e + 6.
    package static func place(_ output: Int) -> Int {
        let (q, e) = (output % 16 / 4, output % 4)
        return output / 16 * 16 + 2 * q + (e < 2 ? e : e + 6)
    }

    /// The output of a place.
    package static func output(_ place: Int) -> Int {
        let (half, q, e) = (place % 16 / 8, place % 8 / 2, place % 2)
        return place / 16 * 16 + 4 * q + 2 * half + e
    }
}
