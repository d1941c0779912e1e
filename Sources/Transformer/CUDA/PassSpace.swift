package import CUDA
import Operators
import Tensors

/// How the residual stream lies in memory.
package enum ResidualForm: Sendable {
    /// One tensor of fp32.
    case whole
    /// One tensor of bf16.
    case rounded
    /// fp32 in two tensors of 16 bits: what it rounds to in bf16, which products take as it is, and the bits that are left.
    case halves

    /// Of the tensor that holds all of it; of a whole one for halves, which are joined as they are read.
    var dtype: DType { self == .rounded ? .bfloat16 : .float32 }
}

/// The memory that a pass over rows works in, for as many rows as ever came at once; kept from pass to pass.
///
/// Queries, keys, values and attention's result lie where the gated activations come later: a layer never needs both, and less memory stays in
/// L2. Not where the residual stream is in halves: the kernel of whole layers needs all at once.
package struct PassSpace {
    let x: DeviceTensor  // [T, C] fp32, the residual stream, or bf16, its first half
    let rest: DeviceTensor?  // [T, C] 16 bits, the other half
    let h: DeviceTensor  // [T, C] bf16, normed rows
    let branch: DeviceTensor  // [T, C] bf16
    let queryKeyValue: DeviceTensor  // [T, (H + 2 G) D] bf16
    let attended: DeviceTensor  // [T, H D] bf16
    let gated: DeviceTensor  // [T, I] bf16
    private let arena: DeviceArena

    /// - Throws: ``CUDAError`` with code `outOfMemory`, naming what all of it needs and what is free.
    package init(_ spec: TransformerSpec, rows: Int, residual: ResidualForm, on stream: Stream) throws {
        let place = Placement(spec, rows: rows, residual: residual)
        arena = try DeviceArena(byteCount: place.byteCount, on: stream)
        let (c, heads) = (spec.hiddenSize, spec.queryHeads * spec.headDimension)
        x = try arena.tensor(residual == .whole ? .float32 : .bfloat16, [rows, c], at: place.x)
        rest = residual != .halves ? nil : try arena.tensor(.bfloat16, [rows, c], at: place.rest)
        h = try arena.tensor(.bfloat16, [rows, c], at: place.h)
        branch = try arena.tensor(.bfloat16, [rows, c], at: place.branch)
        queryKeyValue = try arena.tensor(.bfloat16, [rows, Placement.projected(spec)], at: place.queryKeyValue)
        attended = try arena.tensor(.bfloat16, [rows, heads], at: place.attended)
        gated = try arena.tensor(.bfloat16, [rows, spec.intermediateSize], at: place.gated)
    }

    private init(_ space: PassSpace, rows: Int) throws {
        func cut(_ tensor: DeviceTensor) throws -> DeviceTensor { try tensor.slice(0, 0..<rows) }
        x = try cut(space.x)
        rest = try space.rest.map(cut)
        h = try cut(space.h)
        branch = try cut(space.branch)
        queryKeyValue = try cut(space.queryKeyValue)
        attended = try cut(space.attended)
        gated = try cut(space.gated)
        arena = space.arena
    }

    package var capacity: Int { x.shape[0] }
    /// Elements from a place in `x` to the same place in `rest`.
    var plane: Int { rest.map { Int($0.address.bits - x.address.bits) / 2 } ?? 0 }

    /// The first rows of everything.
    func prefix(_ rows: Int) throws -> PassSpace { try PassSpace(self, rows: rows) }

    /// Offsets in the arena.
    package struct Placement: Equatable {
        package let x: Int
        package let rest: Int
        package let h: Int
        package let branch: Int
        package let queryKeyValue: Int
        package let attended: Int
        package let gated: Int
        package let byteCount: Int

        package init(_ spec: TransformerSpec, rows: Int, residual: ResidualForm) {
            var layout = ArenaLayout()
            x = layout.place(residual == .whole ? .float32 : .bfloat16, [rows, spec.hiddenSize])
            rest = residual != .halves ? x : layout.place(.bfloat16, [rows, spec.hiddenSize])
            h = layout.place(.bfloat16, [rows, spec.hiddenSize])
            branch = layout.place(.bfloat16, [rows, spec.hiddenSize])
            var shared = layout
            queryKeyValue = layout.place(.bfloat16, [rows, Self.projected(spec)])
            attended = layout.place(.bfloat16, [rows, spec.queryHeads * spec.headDimension])
            if residual == .halves { shared = layout }
            gated = shared.place(.bfloat16, [rows, spec.intermediateSize])
            byteCount = max(layout.byteCount, shared.byteCount)
        }

        static func projected(_ spec: TransformerSpec) -> Int { (spec.queryHeads + 2 * spec.keyValueHeads) * spec.headDimension }
    }
}
