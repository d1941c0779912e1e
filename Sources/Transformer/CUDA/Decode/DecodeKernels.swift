import CUDA
import Operators

/// The compiled megakernel and its packing for one model on one GPU.
struct DecodeKernels: Sendable {
    let decode: Kernel
    let packLayer: Kernel
    let packHead: Kernel
    let packNorm: Kernel
    let packScales: Kernel
    let packHeadScales: Kernel
    let sizes: DecodeSizes

    init(_ plan: DecodePlan, on context: OperatorContext) throws {
        let module = try Module(
            context.compiler.compile(DecodePlan.kernelPath, constants: plan.constants, for: context.architecture), in: context.context)
        let packing = try Module(
            context.compiler.compile(DecodePlan.packPath, constants: plan.constants, for: context.architecture), in: context.context)
        decode = try module.kernel("apus_decode")
        packLayer = try packing.kernel("apus_decode_pack_layer")
        packHead = try packing.kernel("apus_decode_pack_head")
        packNorm = try packing.kernel("apus_decode_pack_norm")
        packScales = try packing.kernel("apus_decode_pack_scales")
        packHeadScales = try packing.kernel("apus_decode_pack_head_scales")
        sizes = try DecodeSizes(context.stream.download(UInt32.self, from: module.global("apus_decode_sizes")))
        guard sizes.argumentByteCount == MemoryLayout<DecodeArguments>.stride, sizes.blocks == plan.blocks else {
            throw TransformerError(
                .unsupportedModel,
                "the decode kernel was compiled for \(sizes.blocks) blocks and arguments of \(sizes.argumentByteCount) bytes, not for \(plan.blocks) and \(MemoryLayout<DecodeArguments>.stride)"
            )
        }
    }
}

/// What the kernel says of itself: its variable `apus_decode_sizes`.
struct DecodeSizes: Sendable {
    let sharedByteCount: Int
    let threads: Int
    let blocks: Int
    /// Of a block.
    let layerChunks: Int
    let headChunks: Int
    /// Floats of one norm in slot order, and of all norms of a layer.
    let normCount: Int
    let layerNormCount: Int
    let exchangeByteCount: Int
    let argumentByteCount: Int
    let chunkByteCount: Int
    /// Floats of all norms and, behind them, of the rows' factors.
    let floatCount: Int

    init(_ words: [UInt32]) throws {
        guard words.count == 11 else {
            throw TransformerError(.unsupportedModel, "the decode kernel tells \(words.count) of its sizes, expected 11")
        }
        let sizes = words.map(Int.init)
        (sharedByteCount, threads, blocks, layerChunks, headChunks) = (sizes[0], sizes[1], sizes[2], sizes[3], sizes[4])
        (normCount, layerNormCount, exchangeByteCount, argumentByteCount, chunkByteCount) = (sizes[5], sizes[6], sizes[7], sizes[8], sizes[9])
        floatCount = sizes[10]
    }
}

/// The megakernel's parameter: `Arguments` of State.cuh, field by field.
package struct DecodeArguments: KernelParameter {
    var layers = DeviceAddress(bits: 0)
    var head = DeviceAddress(bits: 0)
    var embedding = DeviceAddress(bits: 0)
    var norms = DeviceAddress(bits: 0)
    var infos = DeviceAddress(bits: 0)
    var inverseFrequencies = DeviceAddress(bits: 0)
    var cache = DeviceAddress(bits: 0)
    var exchange = DeviceAddress(bits: 0)
    var logits = DeviceAddress(bits: 0)
    var forced = DeviceAddress(bits: 0)
    var chosen = DeviceAddress(bits: 0)
    var handed = DeviceAddress(bits: 0)
    var stop = DeviceAddress(bits: 0)
    var error = DeviceAddress(bits: 0)
    package var logitStride: Int64 = 0
    var handedCount: Int32 = 0
    var forcedCount: Int32 = 0
    var position: Int32 = 0
    var steps: Int32 = 0
    var firstHead: Int32 = 0
    package var stopCount: Int32 = 0
    var fullSplits: Int32 = 128
    package var embeddingScale: Float = 1
    var sampleable: Int32 = 0
    var reserved: Int32 = 0
    package var stops: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0, 0)

    static let maximumStops = 16

    package init() {}

    /// Token ids that end the generation, as many as the kernel takes.
    package mutating func setStops(_ ids: [Int32]) {
        let ids = ids.prefix(Self.maximumStops)
        stopCount = Int32(ids.count)
        withUnsafeMutableBytes(of: &stops) { bytes in
            for (index, id) in ids.enumerated() { bytes.storeBytes(of: id, toByteOffset: index * 4, as: Int32.self) }
        }
    }
}

/// The matrices of a layer as the packing kernel takes them: `LayerWeights` of Pack.cu.
package struct PackArguments: KernelParameter {
    var query: DeviceAddress
    var key: DeviceAddress
    var value: DeviceAddress
    var output: DeviceAddress
    var gated: DeviceAddress
    var down: DeviceAddress
}

/// `LayerInfo` of State.cuh.
package struct DecodeLayerInfo: BitwiseCopyable {
    var window: Int32
    var rope: Int32
}
