import CUDA
import Foundation
import Operators
import Synchronization

/// Decode steps of one model on one GPU by the resident megakernel; see docs/decode.md.
///
/// One launch computes many steps; tokens come over through host memory while it goes on. Launches of different sequences wait for one another.
final class DecodeEngine: @unchecked Sendable {
    private let spec: TransformerSpec
    private let context: OperatorContext
    let source: DeviceWeights
    private let embeddingScale: Float
    let plan: DecodePlan
    private let kernels: DecodeKernels
    let weights: DecodeWeights

    // Used under the lock only: one launch at a time.
    private let lock = NSLock()
    /// The thread that holds the lock; 0 for none.
    private let holder = Atomic<UInt>(0)
    private let exchange: DeviceBuffer
    private let error: DeviceBuffer  // one word
    private let pointers: DeviceBuffer  // [L, 2] addresses of the cache's tensors
    private let forced: DeviceBuffer  // [stepLimit] Int32
    private let chosen: DeviceBuffer  // [stepLimit] Int32
    private let logits: DeviceBuffer  // [V] fp32
    /// The form that draws tokens, compiled when it is first asked for; nil inside where the model or the GPU has none.
    private var sampler: DecodeSampler??
    private let isDrawingReady = Atomic<Bool>(false)
    /// The forms that guess, by positions of a step, compiled when they are first asked for.
    private var speculators: [Int: DecodeSpeculator] = [:]
    /// The bits of those positions.
    private let readyPositions = Atomic<Int>(0)
    /// Of the forms that draw and guess.
    private let formByteCount = Mutex(0)
    private let isGeneric: Bool
    /// Positions in a copy of cache rows to the ring; 0 without one.
    private let boxRows: Int
    private let format: DecodeWeightFormat
    private let cacheFormat: KeyValueCacheFormat
    private let variant: DecodeVariant?
    /// [stepLimit] of token | (step + 1) << 32, then the stop word.
    private let mailbox: PinnedBuffer

    /// Steps of one launch at most.
    static let stepLimit = 512
    /// How long the host waits for one token. The kernel's own waits are shorter.
    private static let patience = Duration.seconds(20)

    /// What a GPU does that cannot hold the grid in clusters of two.
    private struct PairsDoNotFit: Error {}

    /// The engine, in clusters of two blocks where the GPU holds the whole grid so.
    static func make(
        _ spec: TransformerSpec, weights: DeviceWeights, embeddingScale: Float, on context: OperatorContext, isGeneric: Bool,
        format: DecodeWeightFormat, cacheFormat: KeyValueCacheFormat = .bfloat16, draws: Bool = false, guesses: Int = 0,
        variant: DecodeVariant? = nil
    ) throws -> DecodeEngine {
        func engine(pairs: Bool) throws -> DecodeEngine {
            try DecodeEngine(
                spec, weights: weights, embeddingScale: embeddingScale, on: context, isGeneric: isGeneric, format: format,
                cacheFormat: cacheFormat, draws: draws, guesses: guesses, pairs: pairs, variant: variant)
        }
        do {
            return try engine(pairs: context.device.supportsClusters)
        } catch is PairsDoNotFit {
            return try engine(pairs: false)
        }
    }

    /// Compiles the kernels and packs the weights: a second copy of them on the GPU.
    ///
    /// - Parameters:
    ///   - draws: Compiles the form that draws tokens too, beside the other, so that the first drawn answer does not wait for it.
    ///   - guesses: Compiles the form for so many guesses a step too, likewise.
    ///   - variant: a form of the kernel that is measured beside its own.
    /// - Throws: ``TransformerError`` with code `unsupportedModel` or `noHead`; ``CUDAError`` where memory is short.
    private init(
        _ spec: TransformerSpec, weights: DeviceWeights, embeddingScale: Float, on context: OperatorContext, isGeneric: Bool,
        format: DecodeWeightFormat, cacheFormat: KeyValueCacheFormat, draws: Bool, guesses: Int, pairs: Bool, variant: DecodeVariant?
    ) throws {
        let device = context.device
        let plan = try DecodePlan(
            spec, multiprocessors: device.multiprocessorCount, sharedByteLimit: device.sharedByteCountPerBlock,
            hasRing: !isGeneric && device.computeCapability.major == 9, format: format, cacheFormat: cacheFormat, pairs: pairs,
            variant: variant)
        self.plan = plan
        self.variant = variant
        self.spec = spec
        self.context = context
        self.isGeneric = isGeneric
        self.format = format
        self.cacheFormat = cacheFormat
        self.embeddingScale = embeddingScale
        source = weights
        let drawing =
            draws ? DecodeSampler.plan(spec, on: context, isGeneric: isGeneric, format: format, cacheFormat: cacheFormat, pairs: pairs) : nil
        let guessing = DecodeSpeculator.form(
            guesses: guesses, spec, on: context, isGeneric: isGeneric, format: format, cacheFormat: cacheFormat, pairs: pairs)
        func compileAhead(_ plan: DecodePlan) -> CompilationAhead {
            CompilationAhead { try context.compiler.compile(DecodePlan.kernelPath, constants: plan.constants, for: context.architecture) }
        }
        let drawingAhead = drawing.map(compileAhead)
        let guessingAhead = guessing.map { (positions: $0.positions, compilation: compileAhead($0.plan)) }
        let kernels = try DecodeKernels(plan, on: context)
        self.kernels = kernels
        if plan.hasPairs {
            guard try 2 * kernels.decode.residentClusters(Self.configuration(kernels.sizes, plan)) >= plan.blocks else { throw PairsDoNotFit() }
        }
        boxRows = DecodePlan.boxRows(
            spec, cacheFormat: cacheFormat, ringSlots: plan.ringSlots, chunkByteCount: kernels.sizes.chunkByteCount)
        self.weights = try during("packing the weights for the decode kernel") {
            try DecodeWeights(weights, spec: spec, plan: plan, kernels: kernels, on: context)
        }
        func buffer(_ byteCount: Int) throws -> DeviceBuffer { try DeviceBuffer(byteCount: byteCount, in: context.context) }
        exchange = try buffer(kernels.sizes.exchangeByteCount)
        error = try buffer(4)
        pointers = try buffer(16 * spec.layers.count)
        forced = try buffer(4 * Self.stepLimit)
        chosen = try buffer(4 * Self.stepLimit)
        logits = try buffer(4 * spec.vocabularySize)
        mailbox = try PinnedBuffer(byteCount: 8 * Self.stepLimit + 64, in: context.context)
        try locked {
            if let drawingAhead { _ = try makeSampler(drawingAhead.kernels()) }
            if let guessingAhead { _ = try makeSpeculator(guessingAhead.compilation.kernels(), positions: guessingAhead.positions) }
        }
    }

    /// Of the grid, all resident.
    var blocks: Int { kernels.sizes.blocks }

    /// Bytes on the GPU beside the weights that a prompt is computed with.
    var byteCount: Int {
        weights.byteCount + exchange.byteCount + logits.byteCount + formByteCount.withLock { $0 }
    }

    /// Computes `ids` one after the other behind the cache's positions, for which it has room, and returns the logits behind the last.
    func logits(of ids: [Int32], cache: DeviceKeyValueCache) throws -> [Float] {
        try locked {
            for first in stride(from: 0, to: ids.count, by: Self.stepLimit) {
                let part = Array(ids[first..<min(first + Self.stepLimit, ids.count)])
                var arguments = DecodeArguments()
                arguments.logits = logits.region.address
                // No head before the last token of all.
                arguments.firstHead = Int32(first + part.count == ids.count ? part.count - 1 : part.count)
                try launch(arguments, part, steps: part.count, cache)
                try check()
                cache.move(to: cache.position + part.count)
            }
            return try context.stream.download(Float.self, from: logits.region)
        }
    }

    /// Chooses token after token, beginning behind `first`, which is not in the cache yet.
    ///
    /// - Parameters:
    ///   - limit: tokens at most.
    ///   - stops: ids behind which the kernel ends; they are handed over too.
    ///   - sampleable: ids below it may be chosen.
    ///   - draw: how tokens are drawn; nil takes the likeliest.
    ///   - lookup: what to guess from where the likeliest are taken.
    ///   - body: gets each token while the kernel computes the next; false ends the generation. The cache then holds all tokens but the last.
    /// - Returns: false where the kernel cannot draw so, or could not decide on the next token.
    /// - Throws: ``TransformerError`` with code `nonFinite` for logits that are no numbers, and what `body` throws.
    func generate(
        from first: Int32, limit: Int, stops: [Int32], sampleable: Int, draw: DeviceDraw?, lookup: DeviceLookup?,
        cache: DeviceKeyValueCache, _ body: (Int32) throws -> Bool
    ) throws -> Bool {
        var (input, left) = (first, limit)
        var drawing: DecodeSampler.State?
        if let draw {
            guard let sampler = try locked({ try preparedSampler() }), let state = sampler.state(draw, sampleable: sampleable) else {
                return false
            }
            drawing = state
        }
        var guessing: (speculator: DecodeSpeculator, lookup: DeviceLookup)?
        if draw == nil, let lookup, lookup.guesses > 0, let speculator = try locked({ try preparedSpeculator(guesses: lookup.guesses) }) {
            guessing = (speculator, lookup)
        }
        while left > 0, cache.position < spec.maximumPositions {
            let steps = min(left, Self.stepLimit, spec.maximumPositions - cache.position)
            try during("making room for \(steps) more positions in the cache") { try cache.reserve(cache.position + steps) }
            var (goesOn, isDecided) = (true, true)
            try locked {
                var arguments = DecodeArguments()
                arguments.sampleable = Int32(sampleable)
                arguments.handed = mailbox.region.address
                arguments.handedCount = Int32(Self.stepLimit)
                arguments.stop = mailbox.region.address.advanced(by: 8 * Self.stepLimit)
                arguments.setStops(stops)
                try mailbox.store([UInt64](repeating: 0, count: Self.stepLimit + 1))
                try launch(arguments, [input], steps: steps, cache, drawing, guessing)
                let start = cache.position
                var pass = 0
                do {
                    for step in 0..<steps where goesOn {
                        let word = try token(of: step)
                        let token = word.token
                        if token == Self.undecided {
                            isDecided = false
                            break
                        }
                        guard token >= 0 else {
                            throw TransformerError(
                                .nonFinite, "the logits behind position \(start + step) hold NaN or infinity; the weights are at fault")
                        }
                        cache.move(to: start + step + 1)
                        drawing?.note(token)
                        if word.pass != pass {
                            pass = word.pass
                            guessing?.lookup.onStep(word.positions - 1)
                        }
                        guessing?.lookup.history.append(token)
                        input = token
                        left -= 1
                        goesOn = try body(token) && !stops.prefix(DecodeArguments.maximumStops).contains(token)
                    }
                } catch {
                    try? stop()
                    throw error
                }
                try stop()
            }
            guard isDecided else { return false }
            guard goesOn else { return true }
        }
        return true
    }

    /// Runs `body` while no other thread has a launch under way. `generate` hands tokens over from inside: who takes them cannot launch.
    private func locked<Result>(_ body: () throws -> Result) throws -> Result {
        let thread = UInt(bitPattern: ObjectIdentifier(Thread.current))
        guard holder.load(ordering: .relaxed) != thread else {
            throw TransformerError(.busy, "the decode kernel is at work on the text whose tokens are being handed over; ask it again afterwards")
        }
        return try lock.withLock {
            holder.store(thread, ordering: .relaxed)
            defer { holder.store(0, ordering: .relaxed) }
            return try body()
        }
    }

    /// What the kernel hands over where its candidates do not decide: `undecided` of Sampling.cuh.
    private static let undecided: Int32 = -2

    /// Compiles the form that draws tokens, if that has not been done.
    func prepareDrawing() throws {
        guard !isDrawingReady.load(ordering: .acquiring) else { return }
        _ = try locked { try preparedSampler() }
    }

    private func preparedSampler() throws -> DecodeSampler? {
        if let sampler { return sampler }
        guard
            let plan = DecodeSampler.plan(
                spec, on: context, isGeneric: isGeneric, format: format, cacheFormat: cacheFormat, pairs: plan.hasPairs)
        else {
            sampler = .some(nil)
            return nil
        }
        return try makeSampler(context.compiler.compile(DecodePlan.kernelPath, constants: plan.constants, for: context.architecture))
    }

    private func makeSampler(_ compiled: CompiledKernels) throws -> DecodeSampler {
        let made = try DecodeSampler(spec, compiled, packed: kernels.sizes, on: context)
        sampler = .some(made)
        formByteCount.withLock { $0 += made.byteCount }
        isDrawingReady.store(true, ordering: .releasing)
        return made
    }

    /// Compiles the form for so many guesses a step, if that has not been done.
    func prepareGuessing(_ guesses: Int) throws {
        guard let form = form(guesses: guesses), readyPositions.load(ordering: .acquiring) & form.positions == 0 else { return }
        _ = try locked { try preparedSpeculator(guesses: guesses) }
    }

    private func form(guesses: Int) -> (positions: Int, plan: DecodePlan)? {
        DecodeSpeculator.form(
            guesses: guesses, spec, on: context, isGeneric: isGeneric, format: format, cacheFormat: cacheFormat, pairs: plan.hasPairs)
    }

    /// The form for so many guesses a step, or for fewer where the GPU has no other; nil where it has none.
    private func preparedSpeculator(guesses: Int) throws -> DecodeSpeculator? {
        guard let (positions, plan) = form(guesses: guesses) else { return nil }
        if let known = speculators[positions] { return known }
        let compiled = try context.compiler.compile(DecodePlan.kernelPath, constants: plan.constants, for: context.architecture)
        return try makeSpeculator(compiled, positions: positions)
    }

    private func makeSpeculator(_ compiled: CompiledKernels, positions: Int) throws -> DecodeSpeculator {
        let made = try DecodeSpeculator(spec, compiled, positions: positions, packed: kernels.sizes, on: context)
        speculators[positions] = made
        formByteCount.withLock { $0 += made.byteCount }
        readyPositions.bitwiseOr(positions, ordering: .releasing)
        return made
    }

    /// A word of the mailbox: the token, its place in the launch from 1 on, and where the kernel guesses the step that gave it and that step's positions.
    private struct Handed {
        let token: Int32
        let place: Int
        let pass: Int
        let positions: Int

        init(_ word: UInt64) {
            token = Int32(bitPattern: UInt32(truncatingIfNeeded: word))
            (place, pass, positions) = (Int(word >> 32 & 0xFFF), Int(word >> 44 & 0xFFF), Int(word >> 56))
        }
    }

    /// The token of a step, as soon as the kernel has handed it over.
    private func token(of step: Int) throws -> Handed {
        let clock = ContinuousClock()
        let deadline = clock.now + Self.patience
        var tries = 0
        while true {
            let word = Handed(try mailbox.loadAcquiring64(at: 8 * step))
            if word.place == step + 1 { return word }
            tries += 1
            guard tries % 256 == 0 else { continue }
            // A kernel that has ended hands over nothing more.
            let isOver = try during("waiting for a token of the decode kernel") { try context.stream.isIdle() }
            if isOver, try Handed(mailbox.loadAcquiring64(at: 8 * step)).place != step + 1 {
                try check()
                throw CUDAError(.kernelFault, "the decode kernel ended before step \(step)")
            }
            guard clock.now < deadline else { throw CUDAError(.kernelFault, "the decode kernel handed over no token for \(Self.patience)") }
            usleep(5)
        }
    }

    /// Ends the launch under way, after the step that it is in, and waits for it.
    private func stop() throws {
        try mailbox.storeReleasing(1, at: 8 * Self.stepLimit)
        try check()
    }

    private func launch(
        _ given: DecodeArguments, _ ids: [Int32], steps: Int, _ cache: DeviceKeyValueCache, _ drawing: DecodeSampler.State? = nil,
        _ guessing: (speculator: DecodeSpeculator, lookup: DeviceLookup)? = nil
    ) throws {
        guard cache.position + steps <= cache.capacity else {
            throw TransformerError(.contextExceeded, "\(cache.position + steps) positions exceed the cache's \(cache.capacity)")
        }
        guard cache.format == cacheFormat else {
            throw TransformerError(.invalidSpec, "the decode kernel reads a cache in \(cacheFormat.rawValue), not in \(cache.format.rawValue)")
        }
        let stream = context.stream
        let addresses = try spec.layers.indices.flatMap { [try cache.keys(layer: $0).address.bits, try cache.values(layer: $0).address.bits] }
        try stream.upload(addresses, to: pointers.region)
        try stream.upload(ids, to: forced.region.slice(at: 0, byteCount: 4 * ids.count))
        let area = drawing?.sampler.exchange.region ?? guessing?.speculator.exchange.region ?? exchange.region
        try stream.fill(area)
        try stream.fill(error.region)
        try drawing?.upload(steps: steps, on: stream)
        if let guessing { try guessing.speculator.upload(guessing.lookup, on: stream) }
        var arguments = given
        arguments.fullSplits = Int32(clamping: variant?.unsharedPositions ?? plan.unsharedPositions)
        arguments.layers = weights.layers.region.address
        arguments.head = weights.head.region.address
        arguments.embedding = source.embedding.address
        arguments.norms = weights.norms.region.address
        arguments.infos = weights.infos.region.address
        arguments.inverseFrequencies = weights.inverseFrequencies.region.address
        arguments.cache = pointers.region.address
        arguments.cacheExponents = try cache.exponents()?.address ?? DeviceAddress(bits: 0)
        arguments.cacheCapacity = Int32(cache.capacity)
        arguments.exchange = area.address
        arguments.forced = forced.region.address
        arguments.chosen = chosen.region.address
        arguments.error = error.region.address
        arguments.forcedCount = Int32(ids.count)
        arguments.position = Int32(cache.position)
        arguments.steps = Int32(steps)
        arguments.embeddingScale = embeddingScale
        if arguments.sampleable == 0 { arguments.sampleable = Int32(spec.vocabularySize) }
        let (kernel, sizes) =
            drawing.map { ($0.sampler.kernel.decode, $0.sampler.kernel.sizes) } ?? guessing.map { ($0.speculator.decode, $0.speculator.sizes) }
            ?? (kernels.decode, kernels.sizes)
        let map = boxRows > 0 ? try cache.map(rows: boxRows) : .unused
        try during("launching the decode kernel at position \(cache.position)") {
            try kernel.launch(Self.configuration(sizes, plan), on: stream, arguments, map)
        }
    }

    private static func configuration(_ sizes: DecodeSizes, _ plan: DecodePlan) -> LaunchConfiguration {
        LaunchConfiguration(
            grid: Extent(sizes.blocks), block: Extent(sizes.threads), cluster: plan.hasPairs ? 2 : nil, sharedByteCount: sizes.sharedByteCount,
            residency: .cooperative)
    }

    /// Waits for the launch and throws if the kernel has given up a wait.
    private func check() throws {
        let word = try during("waiting for the decode kernel") { try context.stream.download(UInt32.self, from: error.region)[0] }
        guard word != 0 else { return }
        throw CUDAError(.kernelFault, DecodeFault(word).description)
    }
}

/// Says in a GPU's error what was being done.
private func during<Result: ~Copyable>(_ work: String, _ body: () throws -> Result) throws -> Result {
    do {
        return try body()
    } catch let error as CUDAError {
        throw error.during(work)
    }
}

/// The error word of the kernel: which wait was given up, `Wait` of State.cuh, in which layer and block.
package struct DecodeFault: CustomStringConvertible {
    let wait: String
    let layer: Int
    let block: Int

    private static let waits = [
        "nothing", "weights", "queries, keys and values", "parts of the attention", "attended rows", "activations", "rows of the down product",
        "the choice of the token",
    ]

    package init(_ word: UInt32) {
        let index = Int(word & 255)
        wait = Self.waits.indices.contains(index) ? Self.waits[index] : "wait \(index)"
        layer = Int(word >> 8 & 255)
        block = Int(word >> 16)
    }

    package var description: String { "the decode kernel gave up: block \(block) waited for \(wait) in layer \(layer)" }
}
