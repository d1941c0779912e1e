package import CUDA
import Foundation
public import Operators
import Synchronization
import Tensors

/// Runs a transformer on a GPU: bf16 weights and activations on the tensor cores, fp32 sums, norms and residual stream.
///
/// Work goes into one stream, in the order of the calls. Beside the weights and the caches it needs memory for the rows of one group of sequences
/// (``groupRows``, or the longest sequence).
public final class CUDAExecutor: ModelExecutor, @unchecked Sendable {
    public let spec: TransformerSpec
    package let context: OperatorContext
    package let weights: DeviceWeights
    /// Which kernels multiply and attend.
    public let path: KernelPath
    let rowKernels: RowKernels
    /// Used under the lock only.
    let cacheKernels: CacheKernels
    let ropes: DeviceRopeTables
    let slots: EncodeSlots
    let denseLayers: DeviceDenseLayers
    /// What goes into the products' epilogues, where something does.
    let fused: FusedLayers?
    package let fusion: PrefillFusion
    /// The layers of 8-bit codes, where asked for.
    let coded: Float8Layers?
    /// What the products of layers multiply.
    public var precision: MatrixPrecision { coded == nil ? .bfloat16 : .float8 }
    private let embeddingScale: Float

    // The memory of passes: used under the lock only, so that the kernels of one pass lie together in the stream.
    private let lock = NSLock()
    private var space: PassSpace?
    /// Who measures the steps of the pass that is being put into the stream.
    private var profile: PassProfile?
    /// Who looks at what its steps have computed.
    var observer: ((PassStep) throws -> Void)?

    /// Rows that pass through all layers together.
    package let groupRows: Int

    /// How single tokens are computed.
    public let decoding: DecodeMode
    /// What the resident kernel reads.
    public let decodeWeights: DecodeWeightFormat
    /// What the caches of this executor's sessions lie in.
    public let cacheFormat: KeyValueCacheFormat
    /// Compilations of what embedding takes.
    private let compilations = Mutex<CompilationsAhead?>(nil)
    private let engineLock = NSLock()
    private var engine: DecodeChoice?

    /// Rounding the stream to bf16 costs more accuracy than all other roundings together, but little beside 8-bit codes.
    let residual: ResidualForm

    /// - Parameters:
    ///   - path: ``KernelPath/generic`` uses on every GPU the kernels for compute capability 8.0.
    ///   - fusion: what Hopper's products do of the norms; nothing on another path, and `heads` in place of `full` for shapes that it does not compute.
    ///   - groupRows: see ``groupRows``; results do not depend on it beyond rounding.
    ///   - precision: see ``MatrixPrecision``; 8-bit codes of the weights come beside those in bf16.
    ///   - decoding: see ``DecodeMode``; the resident kernel needs a second copy of the weights on the GPU.
    ///   - decodeWeights: of that copy; nothing where the resident kernel does not run.
    ///   - cacheFormat: of the sessions' caches; with codes a pass over rows needs one layer's rows in bf16 beside them.
    ///   - head: of the vectors that will be asked for, where that is known: their kernels are compiled while the weights come in.
    ///   - compiler: that of the process when nil.
    /// - Throws: what ``DeviceWeights/init(_:spec:on:)`` throws, and ``CUDAError`` for a GPU or a compiler that is not there.
    package init(
        spec: TransformerSpec, weights: TransformerWeights, device: Device, path: KernelPath = .automatic, fusion: PrefillFusion = .none,
        precision: MatrixPrecision = .bfloat16, groupRows: Int? = nil, decoding: DecodeMode = .automatic,
        decodeWeights: DecodeWeightFormat = .bfloat16, cacheFormat: KeyValueCacheFormat = .bfloat16, head: EncoderHead? = nil,
        compiler: Compiler? = nil
    ) throws {
        try spec.validate()
        context = try OperatorContext(Context(device), overlapsLaunches: true, compiler: compiler ?? .shared())
        if path == .hopper, !context.isHopper() {
            throw TransformerError(
                .unsupportedModel, "Hopper's kernels were asked for, but \(device) has compute capability \(device.computeCapability)")
        }
        self.spec = spec
        self.path = path
        self.decoding = decoding
        self.decodeWeights = decodeWeights
        self.cacheFormat = cacheFormat
        self.groupRows = max(1, groupRows ?? Self.defaultGroupRows)
        guard fusion != .full || decoding != .resident else {
            throw TransformerError(.invalidSpec, "the resident decode kernel reads weights as they are, and full fusion folds norms into them")
        }
        guard precision == .bfloat16 || (decoding != .resident && fusion != .full) else {
            throw TransformerError(.invalidSpec, "8-bit codes go with neither full fusion nor the resident decode kernel")
        }
        if precision == .float8, let obstacle = Float8Layers.obstacle(spec, isHopper: path != .generic && context.isHopper()) {
            throw TransformerError(.unsupportedModel, "\(obstacle); use the precision bf16")
        }
        let fuses = fusion != .none && path != .generic && context.isHopper()
        self.fusion = !fuses ? .none : fusion == .full && !LayerVariant.supports(spec) ? .heads : fusion
        residual = self.fusion == .full ? .halves : precision == .float8 ? .rounded : .whole
        if let head, DeviceWeights.obstacle(spec) == nil {
            let forecast = EncodingForecast(
                spec, on: context, path: path, fusion: self.fusion, precision: precision, residual: residual, rows: Self.batchTokens(self.groupRows))
            // What cannot be foreseen is compiled when it is first needed, and says then what is wrong.
            let ahead = try? context.compileAhead(forecast.forms(head))
            compilations.withLock { $0 = ahead }
        }
        fused = fuses ? try FusedLayers(weights, spec: spec, fusion: self.fusion, on: context) : nil
        self.weights = try DeviceWeights(weights, spec: spec, foldsNorms: self.fusion == .full, on: context)
        coded =
            switch precision {
            case .bfloat16: nil
            case .float8:
                try Float8Layers(weights, self.weights, spec: spec, on: context)
            }
        embeddingScale = spec.embeddingScale.map(weights.embedding.rounded) ?? 1
        rowKernels = RowKernels(context, spec, residual: residual)
        cacheKernels = CacheKernels(context, spec)
        ropes = DeviceRopeTables(context, headDimension: spec.headDimension)
        slots = try EncodeSlots(context)
        denseLayers = DeviceDenseLayers(context)
    }

    /// Smaller groups keep their activations in L2, and yet lost: 4 % at 32,768 rows, 7 % at 16,384, 12 % at 8,192 (H200, 65,536 tokens).
    private static let defaultGroupRows = 65_536

    public var deviceDescription: String {
        let rounded = weights.roundedFrom.map { ", weights rounded from \($0)" } ?? ""
        return "\(context.device), \(precision.rawValue)\(rounded)\(path == .generic ? ", generic kernels" : "")"
            + (fusion == .none ? "" : ", fusion \(fusion.rawValue)")
    }

    package var device: Device { context.device }

    /// Why the model cannot be run at a precision here; nil where it can.
    package func obstacle(to precision: MatrixPrecision) -> String? {
        guard precision == .float8 else { return nil }
        guard decoding != .resident else { return "8-bit codes do not go with the resident decode kernel" }
        return Float8Layers.obstacle(spec, isHopper: path != .generic && context.isHopper())
    }

    public var preferredBatchTokens: Int { Self.batchTokens(groupRows) }
    private static func batchTokens(_ groupRows: Int) -> Int { min(32_768, groupRows) }
    /// One that is computed, one behind it in the stream, one that is being put together.
    public var batchesInFlight: Int { 3 }

    /// bf16 operations a second on paper; nil for a GPU that the table does not hold.
    package var peakOperationsPerSecond: Double? { context.device.peaks?.bf16 }

    /// The megakernel, compiled and its weights packed at the first call; nil where tokens are computed by layers.
    ///
    /// - Throws: what is in its way where it was asked for by name; otherwise only what is no matter of the model or of memory.
    ///
    /// - Parameters:
    ///   - draws: Compiles the form that draws tokens along with it; later it is compiled when first needed.
    ///   - guesses: Compiles the form for so many guesses a step, likewise.
    @discardableResult
    func decodeEngine(draws: Bool = false, guesses: Int = 0) throws -> DecodeEngine? {
        guard decoding != .layers else { return nil }
        return try engineLock.withLock {
            let choice = try engine ?? chooseEngine(draws: draws, guesses: guesses)
            engine = choice
            guard case .resident(let made) = choice else { return nil }
            return made
        }
    }

    public func prepare(draws: Bool, guesses: Int) throws {
        guard let engine = try decodeEngine(draws: draws, guesses: guesses) else { return }
        if draws { try engine.prepareDrawing() }
        try engine.prepareGuessing(guesses)
    }

    /// Compiles in the background what vectors of texts of any lengths take; at once where the executor was made for them.
    package func prepareEncoding(_ head: EncoderHead) {
        compilations.withLock { ahead in
            guard ahead == nil else { return }
            let forecast = EncodingForecast(
                spec, on: context, path: path, fusion: fusion, precision: precision, residual: residual, rows: preferredBatchTokens)
            ahead = try? context.compileAhead(forecast.forms(head))
        }
    }

    /// Waits until all that was begun so is compiled.
    package func finishPreparing() { compilations.withLock { $0 }?.wait() }

    private func chooseEngine(draws: Bool, guesses: Int) throws -> DecodeChoice {
        guard fusion != .full else { return .layers("full fusion folds norms into the weights") }
        guard precision == .bfloat16 else { return .layers("the weights lie in 8-bit codes for prompts") }
        do {
            return .resident(
                try DecodeEngine.make(
                    spec, weights: weights, embeddingScale: embeddingScale, on: context, isGeneric: path == .generic, format: decodeWeights,
                    cacheFormat: cacheFormat, draws: draws, guesses: guesses))
        } catch {
            guard decoding == .automatic, let reason = DecodeChoice.reason(for: error) else { throw error }
            return .layers(reason)
        }
    }

    /// Runs `body` while single tokens are decoded by a variant of the resident kernel, with a packed copy of the weights of its own. For
    /// benchmarks: sessions of other threads get it too.
    package func decoding<Result>(by variant: DecodeVariant, _ body: () throws -> Result) throws -> Result {
        let made = try DecodeEngine.make(
            spec, weights: weights, embeddingScale: embeddingScale, on: context, isGeneric: path == .generic || !variant.hasRing,
            format: decodeWeights, cacheFormat: cacheFormat, variant: variant)
        let kept = engineLock.withLock {
            let kept = engine
            engine = .resident(made)
            return kept
        }
        defer { engineLock.withLock { engine = kept } }
        return try body()
    }

    /// Compiles variants of the resident kernel side by side, so that the compiler's cache holds them.
    package func compile(_ variants: [DecodeVariant]) throws {
        let device = context.device
        let compilations = try variants.map { variant in
            let plan = try DecodePlan(
                spec, multiprocessors: device.multiprocessorCount, sharedByteLimit: device.sharedByteCountPerBlock,
                hasRing: path != .generic && variant.hasRing && context.isHopper(), format: decodeWeights,
                cacheFormat: cacheFormat, variant: variant)
            return CompilationAhead { [context] in
                try context.compiler.compile(DecodePlan.kernelPath, constants: plan.constants, for: context.architecture)
            }
        }
        for compilation in compilations { _ = try compilation.kernels() }
    }

    public var decodeForm: DecodeForm? {
        switch engineLock.withLock({ engine }) {
        case .resident(let made): DecodeForm(isResident: true, reason: nil, byteCount: made.byteCount)
        case .layers(let reason): DecodeForm(isResident: false, reason: reason, byteCount: 0)
        case nil:
            decoding == .layers
                ? DecodeForm(isResident: false, reason: nil, byteCount: 0)
                : DecodeForm(isResident: DecodePlan.obstacle(spec) == nil, reason: DecodePlan.obstacle(spec), byteCount: 0)
        }
    }

    public func makeSession() throws -> any DecoderSession {
        // Before the first token is waited for.
        _ = try decodeEngine()
        return CUDADecoderSession(self)
    }

    /// Runs `body` with memory for `rows` rows while no other pass uses it. The memory is good for work put into the stream inside of `body`.
    func withSpace<Result>(rows: Int, _ body: (PassSpace) throws -> Result) throws -> Result {
        try lock.withLock {
            if (space?.capacity ?? 0) < rows {
                // The old memory goes first: it may be what the new one lacks. Work that uses it is ahead in the stream.
                space = nil
                space = try PassSpace(spec, rows: rows, residual: residual, on: context.stream)
            }
            guard let space else { throw TransformerError(.invalidSpec, "a pass over \(rows) rows has no memory") }
            return try body(space.prefix(rows))
        }
    }

    /// Bytes of one layer's keys and values as passes over rows read them, where the caches hold codes.
    package var cacheRowByteCount: Int { lock.withLock { cacheKernels.byteCount } }

    /// Runs `body` while no pass uses what passes share of a cache of codes.
    func withCacheKernels<Result>(_ body: (CacheKernels) throws -> Result) rethrows -> Result { try lock.withLock { try body(cacheKernels) } }

    /// Measures the steps of all passes that `body` starts; other threads must not use the executor meanwhile.
    package func profiling(_ profile: PassProfile, _ body: () throws -> Void) throws {
        lock.withLock { self.profile = profile }
        defer { lock.withLock { self.profile = nil } }
        try profile.start(on: context.stream)
        try body()
    }

    /// Passes the rows through the layers: `space.x` is then the residual stream behind the last of them, and `space.h` its norm for the layer that
    /// follows; behind the model's last layer the final norm, where `finalNorm` asks for it.
    ///
    /// - Parameter forLast: Leaves out the last layer, of which keys and values alone may then be there already.
    /// - Returns: the sums of squares of `space.x` where they stand for its norm.
    @discardableResult
    func run(
        _ pass: DevicePass, _ space: PassSpace, forLast: Bool = false, finalNorm: Bool, eachLayer: (Int) throws -> Void = { _ in }
    ) throws -> RowSums? {
        let sums = try fused.flatMap { $0.isFull ? try $0.sums(rows: pass.rowCount) : nil }
        if let sums {
            try rowKernels.embed(pass.ids, table: weights.embedding, scale: embeddingScale, space, sums: sums.values)
        } else {
            try rowKernels.embed(pass.ids, table: weights.embedding, scale: embeddingScale, norm: weights.layers[0].attentionNorm, space)
        }
        try mark(.embed)
        let codes = try coded.map { _ in try Float8Rows(space, on: context) }
        let last = weights.layers.count - 1
        for index in 0..<(forLast ? last : last + 1) {
            if index == 0 || sums == nil { try project(index, pass, space, sums, codes) }
            try attend(index, pass, space)
            if let sums {
                try finish(index, space, sums, next: index < last ? (index: index + 1, pass: pass, keysOnly: forLast && index + 1 == last) : nil)
                if index == last, finalNorm {
                    try rowKernels.norm(space, weight: weights.finalNorm)
                    try mark(.residual)
                }
            } else {
                try finish(
                    index, space, codes, next: index == last ? (finalNorm ? weights.finalNorm : nil) : weights.layers[index + 1].attentionNorm)
            }
            try eachLayer(index)
        }
        return sums
    }

    /// Queries, keys and values of all rows, queries and keys normed and rotated.
    private func project(_ index: Int, _ pass: DevicePass, _ space: PassSpace, _ sums: RowSums?, _ codes: Float8Rows?) throws {
        let layer = weights.layers[index]
        let (h, g, d) = (spec.queryHeads, spec.keyValueHeads, spec.headDimension)
        if let coded, let codes, coded.contains(index) {
            try coded.project(index, codes, positions: pass.positions, into: space.queryKeyValue)
            return try mark(.queryKeyValue)
        }
        if let fused {
            try fused.project(
                index, sums == nil ? space.h : space.x, layer.queryKeyValue, queryHeads: h, keyHeads: g, positions: pass.positions, sums: sums,
                into: space.queryKeyValue)
            return try mark(.queryKeyValue)
        }
        _ = try context.gemm(space.h, layer.queryKeyValue, path: path, into: space.queryKeyValue)
        try mark(.queryKeyValue)
        let rope = try ropes.table(for: spec.layers[index].rope, positions: pass.positionCount)
        try context.normAndRotate(
            space.queryKeyValue.split(1, into: (h + 2 * g, d)).slice(1, 0..<h + g), queryHeads: h, queryWeight: layer.queryNorm,
            keyWeight: layer.keyNorm, cosine: rope.cosine, sine: rope.sine, positions: pass.positions, epsilon: spec.normEpsilon,
            unitOffset: spec.normWeightOffset == 1)
        try mark(.queryKeyNorm)
    }

    /// What follows attention in a layer; `space.h` is then the residual stream's norm by `next`.
    func finish(_ index: Int, _ space: PassSpace, _ codes: Float8Rows? = nil, next: DeviceTensor?) throws {
        let layer = weights.layers[index]
        _ = try context.gemm(space.attended, layer.output, path: path, into: space.branch)
        try mark(.output)
        // Rows go on as codes where the products behind them take those.
        func add(norm: DeviceTensor?, next: DeviceTensor?, for reader: Int) throws {
            if let coded, let codes, let next, coded.contains(reader) {
                try rowKernels.addBranch(space.branch, norm: norm, to: space.x, next: next, codes: codes, bound: coded.gatedBound(reader))
            } else {
                try rowKernels.addBranch(space.branch, norm: norm, to: space.x, next: next, h: space.h)
            }
            try mark(.residual)
        }
        try add(norm: layer.attentionOutputNorm, next: layer.feedForwardNorm, for: index)
        if let coded, let codes, coded.contains(index) {
            try coded.gateUp(index, codes)
            try mark(.gateUp)
            try coded.down(index, codes, into: space.branch)
        } else {
            _ = try context.gatedMLP(space.h, weights: layer.gateUp, activation: spec.activation.gate, path: path, into: space.gated)
            try mark(.gateUp)
            _ = try context.gemm(space.gated, layer.down, path: path, into: space.branch)
        }
        try mark(.down)
        try add(norm: layer.feedForwardOutputNorm, next: next, for: index + 1)
    }

    /// The same in one kernel, and the heads of the layer `next`, all of them or keys and values only.
    func finish(_ index: Int, _ space: PassSpace, _ sums: RowSums, next: (index: Int, pass: DevicePass, keysOnly: Bool)?) throws {
        guard let fused else { return }
        let (h, g, d) = (spec.queryHeads, spec.keyValueHeads, spec.headDimension)
        try fused.finish(
            index, weights.layers[index], space, sums,
            next: try next.map {
                let weight = weights.layers[$0.index].queryKeyValue
                guard $0.keysOnly else { return (weight, h, g, $0.pass.positions, space.queryKeyValue) }
                return (
                    try weight.slice(0, h * d..<(h + 2 * g) * d), 0, g, $0.pass.positions,
                    try space.queryKeyValue.leading([$0.pass.rowCount, 2 * g * d])
                )
            })
        try mark(.layer)
    }

    /// Notes that a step has just been put into the stream, where someone measures or looks.
    func mark(_ step: PassStep) throws {
        try profile?.mark(step, on: context.stream)
        try observer?(step)
    }

    /// Puts keys and values into the cache where there is one, and attends.
    private func attend(_ index: Int, _ pass: DevicePass, _ space: PassSpace) throws {
        let (h, g, d) = (spec.queryHeads, spec.keyValueHeads, spec.headDimension)
        let heads = try space.queryKeyValue.split(1, into: (h + 2 * g, d))
        var keys = try heads.slice(1, h..<h + g)
        var values = try heads.slice(1, h + g..<h + 2 * g)
        if let cache = pass.cache, cache.format == .float8 {
            (keys, values) = try cacheKernels.store(keys: keys, values: values, into: cache, layer: index)
        } else if let cache = pass.cache {
            let (keyCache, valueCache) = (try cache.keys(layer: index), try cache.values(layer: index))
            try rowKernels.store(keys: keys, values: values, into: keyCache, valueCache, start: cache.position)
            keys = try keyCache.slice(0, 0..<cache.position + pass.rowCount)
            values = try valueCache.slice(0, 0..<cache.position + pass.rowCount)
        }
        _ = try context.attention(
            heads.slice(1, 0..<h), keys, values, lengths: pass.lengths, mask: spec.mask(layer: index), scale: spec.attentionScale, path: path,
            isInvariant: true, into: space.attended.split(1, into: (h, d)))
        try mark(spec.layers[index].window == nil ? .attention : .windowedAttention)
    }
}

extension TransformerSpec {
    /// Which keys a query of a layer sees.
    package func mask(layer: Int) -> AttentionMask {
        switch (layers[layer].window, isBidirectional) {
        case (let window?, false): .window(window)
        case (nil, false): .causal
        case (let window?, true): .around(left: window - 1, right: window - 1)
        case (nil, true): .full
        }
    }
}

extension TransformerSpec.Activation {
    var gate: Operators.Activation {
        switch self {
        case .silu: .silu
        case .geluTanh: .geluTanh
        case .geluErf: .geluErf
        }
    }
}
