package import CUDA
package import Operators
import Tensors

/// The keys and values of one sequence on the GPU: for every layer two tensors, K and V, `[capacity, G, D]`, row-major by position: bf16, or E4M3 codes
/// with an exponent for each row, `[capacity, G]` (``KeyValueCacheFormat``).
///
/// Keys are normed and rotated. Rows from ``position`` on hold nothing. All layers share one allocation (the exponents have another), which grows by
/// copying in the stream that made it; tensors taken before it grew are then of no use. Not for use by two threads at once.
package final class DeviceKeyValueCache {
    package let context: OperatorContext
    package let format: KeyValueCacheFormat
    package let layerCount: Int
    package let keyValueHeads: Int
    package let headDimension: Int
    /// The most positions that it may grow to.
    package let maximumPositions: Int
    /// Positions that there is room for.
    package private(set) var capacity = 0
    /// Positions that are filled: the position of the next token.
    package private(set) var position = 0

    private let positionByteCount: Int
    private var storage: Storage?

    private struct Storage {
        let rows: DeviceTensor  // [L, 2, capacity, G, D] bf16 or E4M3
        let exponents: DeviceTensor?  // [L, 2, capacity, G] u8
    }

    package init(spec: TransformerSpec, format: KeyValueCacheFormat = .bfloat16, on context: OperatorContext) {
        self.context = context
        self.format = format
        layerCount = spec.layers.count
        keyValueHeads = spec.keyValueHeads
        headDimension = spec.headDimension
        maximumPositions = spec.maximumPositions
        positionByteCount = format.byteCount(spec) * spec.layers.count
    }

    package var byteCount: Int { capacity * positionByteCount }

    /// [capacity, G, D] bf16, or E4M3 codes
    package func keys(layer: Int) throws -> DeviceTensor { try part(present().rows, layer, 0) }
    /// [capacity, G, D] bf16, or E4M3 codes
    package func values(layer: Int) throws -> DeviceTensor { try part(present().rows, layer, 1) }
    /// [capacity, G] u8; nil where the cache has none
    package func keyExponents(layer: Int) throws -> DeviceTensor? { try present().exponents.map { try part($0, layer, 0) } }
    /// [capacity, G] u8; nil where the cache has none
    package func valueExponents(layer: Int) throws -> DeviceTensor? { try present().exponents.map { try part($0, layer, 1) } }
    /// [L, 2, capacity, G] u8; nil where the cache has none
    package func exponents() throws -> DeviceTensor? { try present().exponents }

    /// All of it, `[2 L, capacity, G, D]`, for boxes of 128 bytes of `rows` positions of one head: keys and values of a layer in turn.
    package func map(rows: Int) throws -> TensorMap {
        let tensor = try present().rows
        let (row, size) = (keyValueHeads * headDimension, tensor.dtype.byteCount)
        return try TensorMap(
            tensor.address, element: format == .bfloat16 ? .bfloat16 : .uint8, sizes: [headDimension, keyValueHeads, capacity, 2 * layerCount],
            strides: [headDimension, row, row * capacity].map { $0 * size }, box: [min(headDimension, 128 / size), 1, rows, 1], swizzle: .bytes128,
            promotion: .bytes256, context: context.context)
    }

    private func present() throws -> Storage {
        guard let storage else { throw TransformerError(.invalidSpec, "the cache has no room yet; reserve some first") }
        return storage
    }

    private func part(_ tensor: DeviceTensor, _ layer: Int, _ half: Int) throws -> DeviceTensor {
        try tensor.slice(0, layer..<layer + 1).slice(1, half..<half + 1).reshaped(Array(tensor.shape.dropFirst(2)))
    }

    /// Makes room for so many positions in all and keeps what is there.
    ///
    /// - Throws: ``OperatorError`` of code `cuda` where memory is short, naming the need and what is free; the cache is then as before.
    package func reserve(_ positions: Int) throws {
        guard positions > capacity else { return }
        let grown = Self.grownCapacity(capacity, needed: positions, maximum: maximumPositions)
        let new = Storage(
            rows: try context.tensor(format == .bfloat16 ? .bfloat16 : .float8E4M3, [layerCount, 2, grown, keyValueHeads, headDimension]),
            exponents: format == .bfloat16 ? nil : try context.tensor(.uint8, [layerCount, 2, grown, keyValueHeads]))
        if let storage, position > 0 {
            try copy(storage.rows, to: new.rows)
            if let old = storage.exponents, let exponents = new.exponents { try copy(old, to: exponents) }
        }
        storage = new
        capacity = grown
    }

    /// The filled rows, `[L, 2, capacity, …]`.
    private func copy(_ old: DeviceTensor, to new: DeviceTensor) throws {
        for layer in 0..<layerCount {
            for half in 0..<2 {
                let (from, to) = (try part(old, layer, half), try part(new, layer, half))
                try context.stream.copy(from.slice(0, 0..<position).region, to: to.slice(0, 0..<position).region)
            }
        }
    }

    /// Half as much again, at least 256 and what is needed, never more than the model's positions.
    package static func grownCapacity(_ capacity: Int, needed: Int, maximum: Int) -> Int {
        min(max(needed, capacity + capacity / 2, 256), max(maximum, needed))
    }

    /// Notes that rows up to `position` are filled, or are to be forgotten.
    package func move(to position: Int) { self.position = max(0, min(position, capacity)) }
}
