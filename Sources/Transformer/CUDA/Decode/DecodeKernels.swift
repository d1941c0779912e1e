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

/// The form of the megakernel that draws tokens; it reads the same packed weights.
struct SamplingKernel: Sendable {
    let decode: Kernel
    let sizes: DecodeSizes
    /// Where ``DecodeSampling`` lies in the exchange area.
    let inputOffset: Int
    private let peaks: Int
    private let idsOfPeak: Int
    private let candidateLimit: Int

    /// - Parameter sizes: of the other form, whose weights are packed.
    init(_ compiled: CompiledKernels, sizes packed: DecodeSizes, on context: OperatorContext) throws {
        let module = try Module(compiled, in: context.context)
        decode = try module.kernel("apus_decode")
        sizes = try DecodeSizes(context.stream.download(UInt32.self, from: module.global("apus_decode_sizes")))
        let own = try context.stream.download(UInt32.self, from: module.global("apus_decode_sampling")).map(Int.init)
        guard own.count == 5, own[1] == MemoryLayout<DecodeSampling>.stride, sizes.blocks == packed.blocks, sizes.layerChunks == packed.layerChunks,
            sizes.headChunks == packed.headChunks, sizes.argumentByteCount == packed.argumentByteCount
        else { throw TransformerError(.unsupportedModel, "the decode kernel's two forms do not read the same weights") }
        (inputOffset, peaks, idsOfPeak, candidateLimit) = (own[0], own[2], own[3], own[4])
    }

    /// The most candidates that can be kept exactly of so many ids: the bound for k of them is the k-th of `peaks` largest logits.
    func largestK(sampleable: Int) -> Int { min(candidateLimit, peaks, (sampleable + idsOfPeak - 1) / idsOfPeak) }
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
    var cacheExponents = DeviceAddress(bits: 0)
    package var logitStride: Int64 = 0
    var handedCount: Int32 = 0
    var forcedCount: Int32 = 0
    var position: Int32 = 0
    var steps: Int32 = 0
    var firstHead: Int32 = 0
    package var stopCount: Int32 = 0
    package var fullSplits: Int32 = 0
    package var embeddingScale: Float = 1
    var sampleable: Int32 = 0
    var cacheCapacity: Int32 = 0
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

/// `Sampling` of Sampling.cuh, field by field.
package struct DecodeSampling: BitwiseCopyable, Equatable {
    package enum Draw: UInt32, BitwiseCopyable { case likeliest, candidates, everything }

    package var draw: UInt32 = 0
    package var kept: UInt32 = 0
    package var isWhole: UInt32 = 0
    var temperature: Float
    var minP: Float
    var repetition: Float
    var presence: Float
    var frequency: Float
    package var leftOut: Double
    package var counts: UInt64 = 0
    package var uniform: UInt64 = 0

    /// The kernel's way of drawing so; nil where it has none.
    ///
    /// - Parameters:
    ///   - largestK: candidates that the kernel keeps at most.
    package init?(_ draw: DeviceDraw, vocabularySize: Int, largestK: Int) {
        temperature = draw.temperature
        minP = draw.minP
        repetition = draw.repetitionPenalty
        presence = draw.presencePenalty
        frequency = draw.frequencyPenalty
        leftOut = draw.topP < 1 ? 1 - Double(draw.topP) : 0
        if draw.temperature == 0 {
            self.draw = Draw.likeliest.rawValue
        } else if draw.topK > 0, draw.topK < vocabularySize {
            guard draw.topK <= largestK else { return nil }
            self.draw = Draw.candidates.rawValue
            kept = UInt32(draw.topK)
        } else if draw.topP < 1 || draw.minP > 0 {
            guard largestK > 0 else { return nil }
            self.draw = Draw.candidates.rawValue
            kept = UInt32(largestK)
            isWhole = 1
        } else {
            self.draw = Draw.everything.rawValue
        }
    }
}
