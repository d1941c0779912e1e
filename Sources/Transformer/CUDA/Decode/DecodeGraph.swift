import CUDA
import Operators

/// The resident kernel's rival, for benchmarks: a decode step as one CUDA graph of small kernels with programmatic edges
/// (Kernels/Benchmark/GraphStepHopper.cu). It reads the resident kernel's packed weights and a session's cache.
package final class DecodeGraph {
    private let context: OperatorContext
    private let engine: DecodeEngine
    private let cache: DeviceKeyValueCache
    private let layerCount: Int
    private let blocks: Int
    private let threads: Int
    private let kernels: [Step: (kernel: Kernel, sharedByteCount: Int)]
    private let scratch: DeviceBuffer  // fp32
    private let pointers: DeviceBuffer  // [L, 2] addresses of the cache's tensors
    private let norms: DeviceBuffer  // [L, 4] and the last norm: addresses
    private let state: DeviceBuffer  // DecodeGraphState
    private let chosen: DeviceBuffer  // [stepLimit] Int32

    /// Below Kernels/.
    package static let kernelPath = "Benchmark/GraphStepHopper.cu"
    /// Cached positions up to which a layer has four kernels: every block of a group then attends to all of them. Beyond, it has five.
    package static let unsharedPositions = 127
    private static let stepLimit = 4096

    /// The kernels of a step; ``merge`` takes the place of ``output`` behind ``attend``.
    private enum Step: String, CaseIterable {
        case input, attend, output, gated, down, head, merge
        /// Place of its shared memory in the kernel's sizes.
        var place: Int {
            switch self {
            case .input: 0
            case .attend: 1
            case .output, .merge: 2
            case .gated: 3
            case .down: 4
            case .head: 5
            }
        }
    }

    /// Why there is no rival for a model; nil where there is one.
    package static func obstacle(
        _ spec: TransformerSpec, format: DecodeWeightFormat, cacheFormat: KeyValueCacheFormat = .bfloat16, major: Int
    ) -> String? {
        guard major == 9 else { return "it needs compute capability 9.0" }
        guard format == .bfloat16 else { return "it reads weights in bf16" }
        guard cacheFormat == .bfloat16 else { return "it reads a cache in bf16" }
        guard spec.headDimension == 128, spec.normPlacement == .pre, spec.normWeightOffset == 0, spec.embeddingScale == nil,
            spec.activation == .silu, spec.layers.allSatisfy({ $0.window == nil && $0.rope == spec.layers[0].rope })
        else { return "it computes models of the Qwen3 kind" }
        // A block's rows of gate and up lie in shared memory whole, in eight chunks of 16 KB, beside another kernel's.
        guard 4 * spec.intermediateSize * spec.hiddenSize <= 8 * 16_384 * 128 else { return "its layers are too large for shared memory" }
        return DecodePlan.obstacle(spec)
    }

    /// - Parameter session: whose cache is read and continued; its position stays where it is.
    /// - Throws: ``TransformerError`` with code `unsupportedModel` where there is no rival or no resident kernel.
    package init(_ executor: CUDAExecutor, session: any DecoderSession) throws {
        let (spec, device) = (executor.spec, executor.context.device)
        if let obstacle = Self.obstacle(
            spec, format: executor.decodeWeights, cacheFormat: executor.cacheFormat, major: device.computeCapability.major)
        {
            throw TransformerError(.unsupportedModel, "the graph of decode kernels does not compute this model: \(obstacle)")
        }
        guard let engine = try executor.decodeEngine(), let session = session as? CUDADecoderSession else {
            throw TransformerError(.unsupportedModel, "the graph of decode kernels reads the resident kernel's weights, and that does not run")
        }
        context = executor.context
        self.engine = engine
        cache = session.cache
        layerCount = spec.layers.count
        let plan = try DecodePlan(
            spec, multiprocessors: device.multiprocessorCount, sharedByteLimit: device.sharedByteCountPerBlock, hasRing: true, pairs: false)
        let module = try Module(
            context.compiler.compile(Self.kernelPath, constants: plan.constants, for: context.architecture), in: context.context)
        let sizes = try context.stream.download(UInt32.self, from: module.global("apus_graph_sizes")).map(Int.init)
        guard sizes.count == 11, sizes[6] == engine.blocks, sizes[8] == MemoryLayout<DecodeGraphArguments>.stride,
            sizes[9] == MemoryLayout<DecodeGraphState>.stride
        else { throw TransformerError(.unsupportedModel, "the graph's kernels were compiled for other arguments: \(sizes)") }
        blocks = sizes[6]
        threads = sizes[10]
        kernels = try Dictionary(
            uniqueKeysWithValues: Step.allCases.map { ($0, (try module.kernel("apus_graph_\($0.rawValue)"), sizes[$0.place])) })
        func buffer(_ byteCount: Int) throws -> DeviceBuffer { try DeviceBuffer(byteCount: byteCount, in: executor.context.context) }
        scratch = try buffer(4 * sizes[7])
        pointers = try buffer(16 * layerCount)
        norms = try buffer(8 * (4 * layerCount + 1))
        state = try buffer(MemoryLayout<DecodeGraphState>.stride)
        chosen = try buffer(4 * Self.stepLimit)
        let source = engine.source
        let vectors = source.layers.flatMap { [$0.attentionNorm, $0.feedForwardNorm, $0.queryNorm, $0.keyNorm] } + [source.finalNorm]
        try context.stream.upload(vectors.map(\.address.bits), to: norms.region)
    }

    /// Programmatic edges of a token behind so many cached positions.
    package func edges(position: Int) -> Int { layerCount * (position < Self.unsharedPositions ? 4 : 5) }

    /// Tokens chosen one after the other, and seconds a token by the GPU's events, over `runs` runs after one that is not counted.
    ///
    /// - Parameters:
    ///   - first: the token at `position`, behind as many cached positions.
    ///   - steps: tokens of a run, one graph each, put into the stream back to back.
    package func run(from first: Int32, position: Int, steps: Int, runs: Int) throws -> (tokens: [Int32], seconds: [Double]) {
        guard steps >= 1, steps <= Self.stepLimit else { throw TransformerError(.invalidSpec, "the graph runs up to \(Self.stepLimit) tokens") }
        try cache.reserve(position + steps)
        let addresses = try (0..<layerCount).flatMap { [try cache.keys(layer: $0).address.bits, try cache.values(layer: $0).address.bits] }
        let stream = context.stream
        try stream.upload(addresses, to: pointers.region)
        try context.synchronize()
        let graph = try stream.capture { try put(isShort: position + steps <= Self.unsharedPositions + 1) }.instantiate()
        try graph.upload(on: stream)
        let marks = (try Event(context.context), try Event(context.context))
        var seconds: [Double] = []
        for run in 0...runs {
            try stream.upload([DecodeGraphState(token: first, position: Int32(position))], to: state.region)
            try stream.record(marks.0)
            for _ in 0..<steps { try graph.launch(on: stream) }
            try stream.record(marks.1)
            try context.synchronize()
            if run > 0 { seconds.append(try marks.1.elapsed(since: marks.0) / .seconds(1) / Double(steps)) }
        }
        return (try stream.download(Int32.self, from: chosen.region.slice(at: 0, byteCount: 4 * steps)), seconds)
    }

    /// One token's kernels into the stream.
    private func put(isShort: Bool) throws {
        var arguments = DecodeGraphArguments()
        arguments.layers = engine.weights.layers.region.address
        arguments.head = engine.weights.head.region.address
        arguments.embedding = engine.source.embedding.address
        arguments.norms = norms.region.address
        arguments.inverseFrequencies = engine.weights.inverseFrequencies.region.address
        arguments.cache = pointers.region.address
        arguments.scratch = scratch.region.address
        arguments.chosen = chosen.region.address
        arguments.state = state.region.address
        func launch(_ step: Step, _ first: Int32, _ second: Int32, isProgrammatic: Bool = true) throws {
            guard let (kernel, sharedByteCount) = kernels[step] else { return }
            let configuration = LaunchConfiguration(
                grid: Extent(blocks), block: Extent(threads), sharedByteCount: sharedByteCount, isProgrammatic: isProgrammatic)
            try kernel.launch(configuration, on: context.stream, arguments, first, second)
        }
        for layer in 0..<Int32(layerCount) {
            try launch(.input, layer, 0, isProgrammatic: layer > 0)
            for step in isShort ? [Step.output] : [.attend, .merge] { try launch(step, layer, 0) }
            try launch(.gated, layer, 0)
            try launch(.down, layer, 0)
        }
        try launch(.head, 0, 1)
    }
}

/// `Arguments` of GraphStepHopper.cu, field by field.
package struct DecodeGraphArguments: KernelParameter {
    var layers = DeviceAddress(bits: 0)
    var head = DeviceAddress(bits: 0)
    var embedding = DeviceAddress(bits: 0)
    var norms = DeviceAddress(bits: 0)
    var inverseFrequencies = DeviceAddress(bits: 0)
    var cache = DeviceAddress(bits: 0)
    var scratch = DeviceAddress(bits: 0)
    var logits = DeviceAddress(bits: 0)
    var chosen = DeviceAddress(bits: 0)
    var state = DeviceAddress(bits: 0)
}

/// `State` of GraphStepHopper.cu.
package struct DecodeGraphState: BitwiseCopyable {
    var best: UInt64 = 0
    var done: UInt32 = 0
    var token: Int32
    var position: Int32
    var step: Int32 = 0
}
