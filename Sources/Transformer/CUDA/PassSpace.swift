package import CUDA
import Operators
package import Tensors

/// The memory that a pass over rows works in, for as many rows as ever came at once; kept from pass to pass.
///
/// Queries, keys, values and attention's result lie where the gated activations come later: a layer never needs both, and less memory stays in L2.
package struct PassSpace {
    let x: DeviceTensor  // [T, C] fp32, the residual stream
    let h: DeviceTensor  // [T, C] bf16, normed rows
    let branch: DeviceTensor  // [T, C] bf16
    let queryKeyValue: DeviceTensor  // [T, (H + 2 G) D] bf16
    let attended: DeviceTensor  // [T, H D] bf16
    let gated: DeviceTensor  // [T, I] bf16
    private let arena: DeviceArena

    /// - Throws: ``CUDAError`` with code `outOfMemory`, naming what all of it needs and what is free.
    package init(_ spec: TransformerSpec, rows: Int, residualType: DType, on stream: Stream) throws {
        let place = Placement(spec, rows: rows, residualType: residualType)
        arena = try DeviceArena(byteCount: place.byteCount, on: stream)
        let (c, heads) = (spec.hiddenSize, spec.queryHeads * spec.headDimension)
        x = try arena.tensor(residualType, [rows, c], at: place.x)
        h = try arena.tensor(.bfloat16, [rows, c], at: place.h)
        branch = try arena.tensor(.bfloat16, [rows, c], at: place.branch)
        queryKeyValue = try arena.tensor(.bfloat16, [rows, Placement.projected(spec)], at: place.queryKeyValue)
        attended = try arena.tensor(.bfloat16, [rows, heads], at: place.attended)
        gated = try arena.tensor(.bfloat16, [rows, spec.intermediateSize], at: place.gated)
    }

    private init(_ space: PassSpace, rows: Int) throws {
        func cut(_ tensor: DeviceTensor) throws -> DeviceTensor { try tensor.slice(0, 0..<rows) }
        x = try cut(space.x)
        h = try cut(space.h)
        branch = try cut(space.branch)
        queryKeyValue = try cut(space.queryKeyValue)
        attended = try cut(space.attended)
        gated = try cut(space.gated)
        arena = space.arena
    }

    package var capacity: Int { x.shape[0] }

    /// The first rows of everything.
    func prefix(_ rows: Int) throws -> PassSpace { try PassSpace(self, rows: rows) }

    /// Offsets in the arena.
    package struct Placement: Equatable {
        package let x: Int
        package let h: Int
        package let branch: Int
        package let queryKeyValue: Int
        package let attended: Int
        package let gated: Int
        package let byteCount: Int

        package init(_ spec: TransformerSpec, rows: Int, residualType: DType) {
            var layout = ArenaLayout()
            x = layout.place(residualType, [rows, spec.hiddenSize])
            h = layout.place(.bfloat16, [rows, spec.hiddenSize])
            branch = layout.place(.bfloat16, [rows, spec.hiddenSize])
            gated = layout.byteCount
            var shared = layout
            queryKeyValue = layout.place(.bfloat16, [rows, Self.projected(spec)])
            attended = layout.place(.bfloat16, [rows, spec.queryHeads * spec.headDimension])
            _ = shared.place(.bfloat16, [rows, spec.intermediateSize])
            byteCount = max(layout.byteCount, shared.byteCount)
        }

        static func projected(_ spec: TransformerSpec) -> Int { (spec.queryHeads + 2 * spec.keyValueHeads) * spec.headDimension }
    }
}
