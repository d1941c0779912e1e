package import CUDA
package import Operators
import Tensors

/// The keys and values of one sequence on the GPU: for every layer two tensors, K and V, `[capacity, G, D]` bf16, row-major by position.
///
/// Keys are normed and rotated. Rows from ``position`` on hold nothing. All layers share one allocation, which grows by copying in the stream that
/// made it; tensors taken before it grew are then of no use. Not for use by two threads at once.
package final class DeviceKeyValueCache {
    package let context: OperatorContext
    package let layerCount: Int
    package let keyValueHeads: Int
    package let headDimension: Int
    /// The most positions that it may grow to.
    package let maximumPositions: Int
    /// Positions that there is room for.
    package private(set) var capacity = 0
    /// Positions that are filled: the position of the next token.
    package private(set) var position = 0

    private var storage: DeviceTensor?  // [L, 2, capacity, G, D] bf16

    package init(spec: TransformerSpec, on context: OperatorContext) {
        self.context = context
        layerCount = spec.layers.count
        keyValueHeads = spec.keyValueHeads
        headDimension = spec.headDimension
        maximumPositions = spec.maximumPositions
    }

    package var byteCount: Int { 2 * layerCount * capacity * keyValueHeads * headDimension * DType.bfloat16.byteCount }

    /// [capacity, G, D] bf16
    package func keys(layer: Int) throws -> DeviceTensor { try part(layer, 0) }
    /// [capacity, G, D] bf16
    package func values(layer: Int) throws -> DeviceTensor { try part(layer, 1) }

    /// All of it, `[2 L, capacity, G, D]`, for boxes of 64 elements of `rows` positions of one head: keys and values of a layer in turn.
    package func map(rows: Int) throws -> TensorMap {
        guard let storage else { throw TransformerError(.invalidSpec, "the cache has no room yet; reserve some first") }
        let row = keyValueHeads * headDimension
        return try TensorMap(
            storage.address, element: .bfloat16, sizes: [headDimension, keyValueHeads, capacity, 2 * layerCount],
            strides: [headDimension, row, row * capacity].map { $0 * DType.bfloat16.byteCount }, box: [64, 1, rows, 1], swizzle: .bytes128,
            promotion: .bytes256, context: context.context)
    }

    private func part(_ layer: Int, _ half: Int) throws -> DeviceTensor {
        guard let storage else { throw TransformerError(.invalidSpec, "the cache has no room yet; reserve some first") }
        return try storage.slice(0, layer..<layer + 1).slice(1, half..<half + 1).reshaped([capacity, keyValueHeads, headDimension])
    }

    /// Makes room for so many positions in all and keeps what is there.
    ///
    /// - Throws: ``OperatorError`` of code `cuda` where memory is short, naming the need and what is free; the cache is then as before.
    package func reserve(_ positions: Int) throws {
        guard positions > capacity else { return }
        let grown = Self.grownCapacity(capacity, needed: positions, maximum: maximumPositions)
        let new = try context.tensor(.bfloat16, [layerCount, 2, grown, keyValueHeads, headDimension])
        if let storage, position > 0 {
            for layer in 0..<layerCount {
                for half in 0..<2 {
                    func rows(_ tensor: DeviceTensor) throws -> DeviceTensor {
                        try tensor.slice(0, layer..<layer + 1).slice(1, half..<half + 1).slice(2, 0..<position)
                    }
                    try context.stream.copy(rows(storage).region, to: rows(new).region)
                }
            }
        }
        storage = new
        capacity = grown
    }

    /// Half as much again, at least 256 and what is needed, never more than the model's positions.
    package static func grownCapacity(_ capacity: Int, needed: Int, maximum: Int) -> Int {
        min(max(needed, capacity + capacity / 2, 256), max(maximum, needed))
    }

    /// Notes that rows up to `position` are filled, or are to be forgotten.
    package func move(to position: Int) { self.position = max(0, min(position, capacity)) }
}
