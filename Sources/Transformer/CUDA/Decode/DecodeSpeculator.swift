import CUDA
import Operators

/// The megakernel's form that guesses tokens from what came before, and its memory; used under the engine's lock. It reads the same packed weights.
final class DecodeSpeculator {
    let decode: Kernel
    let sizes: DecodeSizes
    let exchange: DeviceBuffer
    private let history: DeviceBuffer  // [maximumPositions + 1] Int32
    /// Where ``DecodeLookup`` lies in the exchange area.
    private let inputOffset: Int
    private let positions: Int

    var byteCount: Int { exchange.byteCount + history.byteCount }

    /// What the form for so many guesses a step is compiled for, or that for fewer where the GPU's shared memory does not hold it, and the positions of
    /// its steps; nil where it holds none.
    static func form(
        guesses: Int, _ spec: TransformerSpec, on context: OperatorContext, isGeneric: Bool, format: DecodeWeightFormat,
        cacheFormat: KeyValueCacheFormat, pairs: Bool
    ) -> (positions: Int, plan: DecodePlan)? {
        let device = context.device
        for positions in guesses < 1 ? [] : guesses == 1 ? [2] : [4, 2] {
            let plan = try? DecodePlan(
                spec, multiprocessors: device.multiprocessorCount, sharedByteLimit: device.sharedByteCountPerBlock,
                hasRing: !isGeneric && device.computeCapability.major == 9, format: format, cacheFormat: cacheFormat, positions: positions,
                pairs: pairs)
            if let plan { return (positions, plan) }
        }
        return nil
    }

    /// - Parameter packed: sizes of the form whose weights are packed.
    init(_ spec: TransformerSpec, _ compiled: CompiledKernels, positions: Int, packed: DecodeSizes, on context: OperatorContext) throws {
        let module = try Module(compiled, in: context.context)
        decode = try module.kernel("apus_decode")
        sizes = try DecodeSizes(context.stream.download(UInt32.self, from: module.global("apus_decode_sizes")))
        let own = try context.stream.download(UInt32.self, from: module.global("apus_decode_lookup")).map(Int.init)
        guard own.count == 4, own[1] == MemoryLayout<DecodeLookup>.stride, own[2] == positions, own[3] >= DecodeEngine.stepLimit,
            sizes.blocks == packed.blocks, sizes.layerChunks == packed.layerChunks, sizes.headChunks == packed.headChunks,
            sizes.argumentByteCount == packed.argumentByteCount
        else { throw TransformerError(.unsupportedModel, "the decode kernel's forms do not read the same weights") }
        (inputOffset, self.positions) = (own[0], positions)
        exchange = try DeviceBuffer(byteCount: sizes.exchangeByteCount, in: context.context)
        history = try DeviceBuffer(byteCount: 4 * (spec.maximumPositions + 1), in: context.context)
    }

    /// What a launch reads, behind the exchange area's zeros.
    func upload(_ lookup: DeviceLookup, on stream: Stream) throws {
        try stream.upload(lookup.history, to: history.region.slice(at: 0, byteCount: 4 * lookup.history.count))
        let given = DecodeLookup(
            history: history.region.address.bits, count: Int32(lookup.history.count), guesses: Int32(min(lookup.guesses, positions - 1)))
        try stream.upload([given], to: exchange.region.slice(at: inputOffset, byteCount: MemoryLayout<DecodeLookup>.stride))
    }
}

/// `Lookup` of SpeculationState.cuh.
struct DecodeLookup: BitwiseCopyable {
    var history: UInt64
    var count: Int32
    var guesses: Int32
}
