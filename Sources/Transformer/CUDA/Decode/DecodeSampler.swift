import CUDA
import Operators

/// The megakernel's form that draws tokens, and its memory; used under the engine's lock.
final class DecodeSampler {
    let kernel: SamplingKernel
    let exchange: DeviceBuffer
    private let uniform: DeviceBuffer  // [stepLimit] Double
    private let counts: DeviceBuffer  // [V] UInt32, see `Sampling` of Sampling.cuh
    private let vocabularySize: Int

    var byteCount: Int { exchange.byteCount + uniform.byteCount + counts.byteCount }

    /// What the form is compiled for; nil where the GPU's shared memory does not hold it.
    static func plan(
        _ spec: TransformerSpec, on context: OperatorContext, isGeneric: Bool, format: DecodeWeightFormat, cacheFormat: KeyValueCacheFormat,
        pairs: Bool
    ) -> DecodePlan? {
        let device = context.device
        return try? DecodePlan(
            spec, multiprocessors: device.multiprocessorCount, sharedByteLimit: device.sharedByteCountPerBlock,
            hasRing: !isGeneric && device.computeCapability.major == 9, format: format, cacheFormat: cacheFormat, samples: true, pairs: pairs)
    }

    /// - Parameter sizes: of the other form, whose weights are packed.
    init(_ spec: TransformerSpec, _ compiled: CompiledKernels, packed sizes: DecodeSizes, on context: OperatorContext) throws {
        kernel = try SamplingKernel(compiled, sizes: sizes, on: context)
        exchange = try DeviceBuffer(byteCount: kernel.sizes.exchangeByteCount, in: context.context)
        uniform = try DeviceBuffer(byteCount: 8 * DecodeEngine.stepLimit, in: context.context)
        counts = try DeviceBuffer(byteCount: 4 * spec.vocabularySize, in: context.context)
        vocabularySize = spec.vocabularySize
    }

    /// A drawing under way; nil where the kernel has no such draw.
    func state(_ draw: DeviceDraw, sampleable: Int) -> State? {
        let largestK = kernel.largestK(sampleable: sampleable)
        guard let parameters = DecodeSampling(draw, vocabularySize: vocabularySize, largestK: largestK) else { return nil }
        return State(self, draw, parameters)
    }

    struct State {
        let sampler: DecodeSampler
        private let draw: DeviceDraw
        private var parameters: DecodeSampling
        /// [V] where there are penalties.
        private var counts: [UInt32]?
        /// Tokens chosen so far.
        private var step = 0

        fileprivate init(_ sampler: DecodeSampler, _ draw: DeviceDraw, _ parameters: DecodeSampling) {
            self.sampler = sampler
            self.draw = draw
            self.parameters = parameters
            self.parameters.uniform = sampler.uniform.region.address.bits
            guard draw.hasPenalties else { return }
            counts = draw.deviceCounts(vocabularySize: sampler.vocabularySize)
            self.parameters.counts = sampler.counts.region.address.bits
        }

        mutating func note(_ token: Int32) {
            step += 1
            counts?[Int(token)] += 1
            counts?[Int(token)] |= DeviceDraw.seenBit
        }

        /// What a launch of so many steps reads, behind the exchange area's zeros.
        func upload(steps: Int, on stream: Stream) throws {
            let numbers = (step..<step + steps).map { draw.uniform($0) }
            try stream.upload(numbers, to: sampler.uniform.region.slice(at: 0, byteCount: 8 * steps))
            if let counts { try stream.upload(counts, to: sampler.counts.region) }
            let place = try sampler.exchange.region.slice(at: sampler.kernel.inputOffset, byteCount: MemoryLayout<DecodeSampling>.stride)
            try stream.upload([parameters], to: place)
        }
    }
}

extension DeviceDraw {
    static let seenBit: UInt32 = 1 << 31

    /// `[V]`: how often the answer holds an id, and the highest bit where prompt or answer hold it.
    package func deviceCounts(vocabularySize: Int) -> [UInt32] {
        var words = [UInt32](repeating: 0, count: vocabularySize)
        for (id, count) in counts where words.indices.contains(id) { words[id] = UInt32(count) }
        for id in seen where words.indices.contains(id) { words[id] |= Self.seenBit }
        return words
    }
}
