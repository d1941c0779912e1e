package import CUDA
import Operators
import Tensors

/// What a pass over rows needs of an fp8 cache: the kernel that makes codes of rows and rows of codes, and one layer's keys and values as attention
/// reads them, which all layers, passes and sequences of an executor share. To be used by one pass at a time.
final class CacheKernels {
    private let context: OperatorContext
    private let spec: TransformerSpec
    private let kernels = LoadedKernels<CacheCodesVariant>()
    private var scratch: DeviceTensor?  // [2, positions, G, D] bf16

    init(_ context: OperatorContext, _ spec: TransformerSpec) {
        self.context = context
        self.spec = spec
    }

    /// Puts keys and values of a pass, [T, G, D] bf16, evenly spaced, into a layer of the cache behind its position, as codes, and reads all of the
    /// layer's rows.
    ///
    /// - Returns: [position + T, G, D] bf16 each, good until the next call.
    func store(
        keys: DeviceTensor, values: DeviceTensor, into cache: DeviceKeyValueCache, layer: Int
    ) throws -> (keys: DeviceTensor, values: DeviceTensor) {
        guard let keyExponents = try cache.keyExponents(layer: layer), let valueExponents = try cache.valueExponents(layer: layer) else {
            throw TransformerError(.invalidSpec, "the cache holds no codes")
        }
        let (start, rows) = (cache.position, keys.shape[0])
        let out = try rowsForAttention(start + rows, of: cache)
        let variant = CacheCodesVariant(headDimension: spec.headDimension)
        let loaded = try kernels.kernel(variant, in: context)
        let cachedBlocks = variant.blocks(2 * start * spec.keyValueHeads)
        try loaded.kernel.launch(
            LaunchConfiguration(
                grid: Extent(cachedBlocks + variant.blocks(2 * rows * spec.keyValueHeads)), block: Extent(variant.threadCount),
                isProgrammatic: context.overlapsLaunches),
            on: context.stream, keys.address, values.address, cache.keys(layer: layer).address, cache.values(layer: layer).address,
            keyExponents.address, valueExponents.address, out.keys.address, out.values.address, Int64(keys.strides[0]), Int32(start), Int32(rows),
            Int32(spec.keyValueHeads), Int32(cachedBlocks))
        return out
    }

    /// [2, positions, G, D] for as many positions as the cache has room for.
    private func rowsForAttention(_ positions: Int, of cache: DeviceKeyValueCache) throws -> (keys: DeviceTensor, values: DeviceTensor) {
        if (scratch?.shape[1] ?? 0) < cache.capacity {
            // The old rows go first: they may be what the new ones lack. Work that uses them is ahead in the stream.
            scratch = nil
            scratch = try context.tensor(.bfloat16, [2, cache.capacity, spec.keyValueHeads, spec.headDimension])
        }
        guard let scratch else { throw TransformerError(.invalidSpec, "a pass over \(positions) positions has no memory") }
        func half(_ index: Int) throws -> DeviceTensor {
            try scratch.slice(0, index..<index + 1).reshaped(Array(scratch.shape.dropFirst())).slice(0, 0..<positions)
        }
        return (try half(0), try half(1))
    }

    /// Of the rows for attention.
    var byteCount: Int { scratch.map { $0.elementCount * $0.dtype.byteCount } ?? 0 }
}

/// The forms of Kernels/Prefill/CacheCodes.cu.
package struct CacheCodesVariant: KernelVariant {
    package static let path = "Prefill/CacheCodes.cu"
    /// 64, 128 or 256.
    let headDimension: Int

    package init(headDimension: Int) { self.headDimension = headDimension }

    package var entry: String { "apus_cache_codes" }
    package var constants: KernelConstants { KernelConstants(["CACHE_HEAD": headDimension]) }
    package var threadCount: Int { 256 }
    package var sharedByteCount: Int { 0 }

    /// Blocks that so many rows of D elements take.
    func blocks(_ rows: Int) -> Int { (rows * headDimension + 2047) / 2048 }
}
