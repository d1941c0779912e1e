package import CUDA

/// What the decode megakernel (Kernels/Decode) is compiled for: a model's sizes and how its work is shared out on a GPU.
///
/// The kernel's own constants follow from these; `Shape.cuh` says how.
package struct DecodePlan: Sendable, Hashable {
    /// Groups of blocks: one a key-value head, or several that share one and have a part of its query heads each.
    package let groups: Int
    /// Blocks of a group.
    package let members: Int
    /// Blocks of the grid, all resident.
    package let blocks: Int
    /// Chunks of 16 KB in shared memory; 0 for the form without a ring, which runs on every GPU.
    package let ringSlots: Int
    package let constants: KernelConstants
    /// What the packed matrices lie in.
    package let format: DecodeWeightFormat
    /// What the cache that the kernel reads and continues lies in.
    package let cacheFormat: KeyValueCacheFormat
    /// Bytes of a piece of the ring.
    package let chunkByteCount: Int
    /// Blocks come in clusters of two, which share a short text's attention through each other's shared memory.
    package let hasPairs: Bool
    /// Rows of the cache come to shared memory a layer ahead of their use.
    package let isStaged: Bool
    /// The distinct rotary embeddings of the layers: the rows of the kernel's table of inverse frequencies.
    package let ropes: [TransformerSpec.RopeSpec]

    /// Positions that a layer sees up to which its attention is not shared out, and up to which no more than a pair of blocks shares it.
    package var unsharedPositions: Int { hasPairs ? 64 : 128 }
    package var pairedPositions: Int { hasPairs ? 256 : unsharedPositions }

    /// Bytes of the ring that staged rows must leave.
    private static let leastStagedRing = 98_304

    /// Below Kernels/.
    package static let kernelPath = "Decode/Megakernel.cu", packPath = "Decode/Pack.cu"
    private static let warps = 8
    /// Rows of the kernel's table of inverse frequencies.
    static let ropeKinds = 2

    /// Why the megakernel does not compute models of this shape; nil where it does.
    package static func obstacle(_ spec: TransformerSpec) -> String? {
        let (h, g, d) = (spec.queryHeads, spec.keyValueHeads, spec.headDimension)
        guard [64, 128, 256].contains(d) else { return "its heads have \(d) elements, supported are 64, 128 and 256" }
        guard h % g == 0, h / g <= 4 else { return "\(h) query heads share \(g) key heads, supported are 4 to one at most" }
        // A warp's columns of the output product belong to one head.
        guard d % ((h / g * d + 127) / 128 * 16) == 0 else {
            return "\(h / g) query heads of \(d) elements share a key head, supported are 1, 2 and 4, and 3 of 64 elements"
        }
        guard spec.intermediateSize % g == 0 else { return "\(g) groups cannot share \(spec.intermediateSize) intermediate channels evenly" }
        guard spec.hasQueryKeyNorm else { return "its query and key heads have no norm" }
        guard !spec.isBidirectional else { return "it is a bidirectional encoder" }
        guard Set(spec.layers.map(\.rope)).count <= ropeKinds else { return "its layers have more than \(ropeKinds) rotary embeddings" }
        guard spec.layers.count <= 128 else { return "it has \(spec.layers.count) layers, supported are 128" }
        guard spec.hiddenSize % 2 == 0 else { return "its hidden size is odd" }
        return nil
    }

    /// - Parameters:
    ///   - multiprocessors: of the GPU; each gets a block at most.
    ///   - sharedByteLimit: dynamic shared memory that a block may have.
    ///   - hasRing: weights through shared memory, on compute capability 9.0 only.
    ///   - format: of the packed matrices.
    ///   - cacheFormat: of the cache.
    ///   - samples: the form that draws tokens, which keeps logits in shared memory.
    ///   - positions: of a step at most; 2 or 4 is the form that guesses.
    ///   - pairs: whether the GPU holds all blocks in clusters of two.
    ///   - variant: constants of its own in place of the plan's.
    /// - Throws: ``TransformerError`` with code `unsupportedModel` for a shape with an ``obstacle(_:)`` or a GPU that is too small.
    package init(
        _ spec: TransformerSpec, multiprocessors: Int, sharedByteLimit: Int, hasRing: Bool, format: DecodeWeightFormat = .bfloat16,
        cacheFormat: KeyValueCacheFormat = .bfloat16, samples: Bool = false, positions: Int = 1, pairs: Bool = true,
        variant: DecodeVariant? = nil
    ) throws {
        if let obstacle = Self.obstacle(spec) {
            throw TransformerError(.unsupportedModel, "the decode kernel does not compute this model: \(obstacle)")
        }
        let (h, g, d) = (spec.queryHeads, spec.keyValueHeads, spec.headDimension)
        guard let (groups, members) = Self.share(spec, multiprocessors: multiprocessors, format: format) else {
            throw TransformerError(.unsupportedModel, "\(g) key heads need as many multiprocessors, the GPU has \(multiprocessors)")
        }
        self.groups = groups
        self.members = members
        blocks = members * groups
        self.format = format
        self.cacheFormat = cacheFormat
        let fragments = Self.chunkFragments(spec, groups: groups, members: members, format: format)
        chunkByteCount = Self.warps * fragments * 32 * format.bits
        let rowByteCount = d * (cacheFormat == .float8 ? 1 : 2)
        // Where the exchanges set the speed. A larger layer is bound by the stream, which wants the whole ring.
        hasPairs =
            pairs && hasRing && members > 2 && members % 2 == 0 && rowByteCount <= 256 && Self.isBoundByExchanges(spec, format: format)
        let pairBound = hasPairs ? positions * Self.pairByteBound(spec, groups: groups) : 0
        let plainBound = Self.sharedByteBound(spec, groups: groups, members: members, format: format)
        let bound =
            pairBound
            + (positions > 1
                ? Self.speculationByteBound(spec, groups: groups, members: members, format: format, positions: positions)
                : plainBound + (samples ? Self.samplingByteBound(spec, blocks: blocks) : 0))
        let left = sharedByteLimit - bound
        guard left >= 0 else {
            throw TransformerError(.unsupportedModel, "the decode kernel needs more shared memory than the GPU's \(sharedByteLimit) bytes a block")
        }
        // A form of several positions reads no staged rows, and yet cuts the attention as the form of one does.
        let stage = rowByteCount % 128 == 0 ? 2 * 128 * rowByteCount : .max
        let room = positions > 1 ? sharedByteLimit - plainBound - Self.pairByteBound(spec, groups: groups) : left
        isStaged = hasPairs && stage <= min(196_608, room) - Self.leastStagedRing
        let staged = isStaged && positions == 1 ? stage : 0
        ringSlots = hasRing ? (min(staged > 0 ? 212_992 : 196_608, left) - staged) / chunkByteCount : 0
        guard !hasRing || ringSlots >= 4 else {
            throw TransformerError(.unsupportedModel, "shared memory of \(sharedByteLimit) bytes a block holds no ring of weights")
        }
        ropes = spec.layers.map(\.rope).reduce(into: []) { if !$0.contains($1) { $0.append($1) } }

        var constants = KernelConstants()
        let sizes = [
            ("C", spec.hiddenSize), ("I", spec.intermediateSize), ("H", h), ("G", g), ("D", d), ("L", spec.layers.count),
            ("V", spec.vocabularySize), ("MEMBERS", members), ("RING", hasRing ? 1 : 0), ("SLOTS", max(1, ringSlots)),
            ("SHARED_BOUND", bound), ("WEIGHTS", format.bits), ("CHUNK", fragments), ("SAMPLING", samples ? 1 : 0),
            // Small layers are bound by the exchanges, which wait behind what is in flight; large ones by the stream.
            ("FLIGHT", min(Self.bytesInFlight(spec, format: format) / chunkByteCount, max(1, ringSlots))),
            ("HEAD_FLIGHT", min(131_072 / chunkByteCount, max(1, ringSlots))),
            ("SANDWICH", spec.normPlacement == .sandwich ? 1 : 0), ("ACTIVATION", spec.activation.kernelNumber),
        ]
        for (name, value) in sizes { constants.define("DECODE_" + name, value) }
        // Defined where it is not the default, so that what is compiled without it is the same file in the compiler's cache as ever.
        if cacheFormat == .float8 { constants.define("DECODE_CACHE", 8) }
        if hasPairs { constants.define("DECODE_CLUSTER", 2) }
        if isStaged { constants.define("DECODE_STAGE", 1) }
        if positions > 1 { constants.define("DECODE_POSITIONS", positions) }
        if groups != g { constants.define("DECODE_GROUPS", groups) }
        constants.define("DECODE_EPSILON", "\(spec.normEpsilon)f")
        constants.define("DECODE_SCALE", "\(spec.attentionScale)f")
        for (name, value) in variant?.constants(groups: groups, ringSlots: ringSlots) ?? [:] { constants.define(name, value) }
        self.constants = constants
    }

    /// Positions in a copy of the cache's rows to the ring, as Span.cuh has it; 0 where they do not go through it.
    package static func boxRows(_ spec: TransformerSpec, cacheFormat: KeyValueCacheFormat, ringSlots: Int, chunkByteCount: Int) -> Int {
        let rowByteCount = spec.headDimension * (cacheFormat == .float8 ? 1 : 2)
        guard ringSlots > 0, rowByteCount >= 128 else { return 0 }
        return min(32, chunkByteCount / rowByteCount)
    }

    /// `[ropeKinds, D / 2]`, the same numbers as the CPU executor's tables are made of; zeros where there is no second kind.
    package static func frequencies(_ ropes: [TransformerSpec.RopeSpec], headDimension: Int) -> [Float] {
        (0..<ropeKinds).flatMap { kind in
            ropes.indices.contains(kind)
                ? RopeTables.inverseFrequencies(ropes[kind], headDimension: headDimension) : [Float](repeating: 0, count: headDimension / 2)
        }
    }

    /// Bytes of a layer's matrices in bf16.
    private static func layerByteCount(_ spec: TransformerSpec) -> Int {
        let attention = spec.hiddenSize * spec.headDimension * 2 * (spec.queryHeads + spec.keyValueHeads)
        return 2 * (attention + 3 * spec.hiddenSize * spec.intermediateSize)
    }

    /// Whether a layer is so small that its exchanges between blocks set its speed, not the stream of its weights.
    private static func isBoundByExchanges(_ spec: TransformerSpec, format: DecodeWeightFormat) -> Bool {
        layerByteCount(spec) * format.bits / 16 <= 48 << 20
    }

    /// Weights of a block on their way at most; a layer of codes has half the bytes, and half of this is enough for it.
    private static func bytesInFlight(_ spec: TransformerSpec, format: DecodeWeightFormat) -> Int {
        if format == .bfloat16, (48 << 20) + 1...128 << 20 ~= layerByteCount(spec) { return 49_152 }
        if !isBoundByExchanges(spec, format: format) { return 65_536 }
        return layerByteCount(spec) > 48 << 20 || format == .bfloat16 ? 32_768 : 16_384
    }

    /// Fragments of a warp in a chunk: those of 16 KB, or half as many where a layer has a tenth more bytes in chunks of 16 KB, since the last one of
    /// each product is part empty. In bf16 not where a product has no more than one.
    private static func chunkFragments(_ spec: TransformerSpec, groups g: Int, members: Int, format: DecodeWeightFormat) -> Int {
        let most = fragmentsOf16KB(format)
        func total(_ unit: Int) -> Int { layerFragments(spec, groups: g, members: members, unit: unit) }
        guard format == .float8 || total(most) > 4 * most else { return most }
        return 10 * total(most) > 11 * total(most / 2) ? most / 2 : most
    }

    /// What the other block of a pair writes: `Pair` of State.cuh, of one position.
    private static func pairByteBound(_ spec: TransformerSpec, groups: Int) -> Int {
        let columns = (spec.queryHeads / groups * spec.headDimension + 127) / 128 * 16
        let floats = columns <= 32 ? 2 : (columns / 32 + 4) & ~3
        return warps * (32 * floats * 4 + 12) + 128
    }

    /// `Shared` of State.cuh, member by member, but for the pair; the kernel's own figure is read from its module.
    private static func sharedByteBound(_ spec: TransformerSpec, groups g: Int, members: Int, format: DecodeWeightFormat) -> Int {
        func divided(_ a: Int, _ b: Int) -> Int { (a + b - 1) / b }
        func padded(_ count: Int, _ unit: Int) -> Int { divided(count, unit) * unit }
        let (c, d, heads) = (spec.hiddenSize, spec.headDimension, spec.queryHeads / g)
        let feeds = feedGroups(spec, groups: g, members: members)
        let feedMembers = members * g / feeds
        let pairs = divided(spec.intermediateSize / feeds, feedMembers)
        let unitRows = divided(c, feedMembers)
        let (input, output) = (padded((heads + 2) * d / members, 16), padded(g / feeds * unitRows, 16))
        let (gated, down) = (2 * padded(pairs, 8), padded(unitRows, 16))
        // Later products' sums lie where the token's vectors were, but for the largest heads.
        let sums = 48 * max(input, output, gated, down), token = 4 * heads * d + 8 * d
        // Behind the columns of output's vector lie the warps' parts, in place of the other vectors where these have no zeros to keep.
        let headColumns = padded(divided(c, 32), chunkFragments(spec, groups: g, members: members, format: format)) * 32
        let vector = 4 * [c, heads * d, pairs * feedMembers].reduce(headColumns) { max($0, padded($1, 128)) }
        let isWhole = c % 128 == 0 && headColumns == c && pairs * feedMembers % 128 == 0
        let parts = warps * 4 * heads * (d + 2) + (isWhole ? 4 * padded(heads * d, 128) : vector)
        let factors = format == .bfloat16 ? 0 : 8 * (input + output + gated + down)
        return (d > 128 ? sums + token : max(sums, 48 * input + token)) + max(vector, parts) + 8 * d + 24 * spec.layers.count + factors + 1024
    }
}

extension DecodePlan {
    /// The logits of a block's rows and how often their tokens came up, and the candidates of a draw.
    private static func samplingByteBound(_ spec: TransformerSpec, blocks: Int) -> Int {
        let rounds = (spec.vocabularySize + 64 * blocks - 1) / (64 * blocks)
        return 8 * 64 * rounds + 8192
    }
}

extension DecodePlan {
    /// Groups of blocks, and blocks of a group; nil for a GPU that is too small.
    ///
    /// Small groups exchange faster: key heads are shared, as far as their query heads go, until a group has 40 blocks at most.
    private static func share(_ spec: TransformerSpec, multiprocessors: Int, format: DecodeWeightFormat) -> (groups: Int, members: Int)? {
        let (h, g, d) = (spec.queryHeads, spec.keyValueHeads, spec.headDimension)
        let ways = (1...h / g).filter { h / g % $0 == 0 && spec.intermediateSize % (g * $0) == 0 }.map { g * $0 }
            // The columns of a warp belong to one head.
            .filter { d % ((h / $0 * d + 127) / 128 * 16) == 0 && $0 <= multiprocessors }
            .map { (groups: $0, members: members(spec, groups: $0, multiprocessors: multiprocessors, format: format)) }
        return ways.first { $0.members <= 40 } ?? ways.last
    }

    /// The fewest blocks whose share of the weights, in chunks of 16 KB, is no more than that of as many as the GPU has room for; 16 where it has,
    /// which share long contexts.
    private static func members(_ spec: TransformerSpec, groups g: Int, multiprocessors: Int, format: DecodeWeightFormat) -> Int {
        let unit = fragmentsOf16KB(format)
        func share(_ members: Int) -> Int {
            let rounds = (spec.vocabularySize + 8 * warps * members * g - 1) / (8 * warps * members * g)
            let columns = ((spec.hiddenSize + 31) / 32 + unit - 1) / unit * unit
            return spec.layers.count * layerFragments(spec, groups: g, members: members, unit: unit) + rounds * columns
        }
        // A block owns whole packets of four rows of q, k and v.
        let packets = (spec.queryHeads / g + 2) * spec.headDimension / 4
        let counts = (1...multiprocessors / g).filter { packets % $0 == 0 }
        let most = counts[counts.count - 1]
        let least = share(most)
        return counts.first { $0 >= min(16, most) && share($0) <= least } ?? most
    }

    private static func fragmentsOf16KB(_ format: DecodeWeightFormat) -> Int { format == .float8 ? 8 : 4 }

    /// Fragments of a warp in a layer, those of each product in whole chunks of `unit`.
    private static func layerFragments(_ spec: TransformerSpec, groups g: Int, members: Int, unit: Int) -> Int {
        func padded(_ count: Int, _ unit: Int) -> Int { (count + unit - 1) / unit }
        let (c, d) = (spec.hiddenSize, spec.headDimension)
        let feeds = feedGroups(spec, groups: g, members: members)
        let feedMembers = members * g / feeds
        let pairs = padded(spec.intermediateSize / feeds, feedMembers)
        let rows = padded(c, feedMembers)
        let products = [
            ((spec.queryHeads / g + 2) * d / members, c), (g / feeds * rows, spec.queryHeads / g * d), (padded(pairs, 8) * 16, c),
            (rows, pairs * feedMembers),
        ]
        return products.reduce(0) { $0 + padded(padded($1.0, 16) * padded($1.1, 16 * warps), unit) * unit }
    }

    /// As Shape.cuh chooses them.
    private static func feedGroups(_ spec: TransformerSpec, groups g: Int, members: Int) -> Int {
        let c = spec.hiddenSize
        func divided(_ a: Int, _ b: Int) -> Int { (a + b - 1) / b }
        func padded(_ count: Int) -> Int { divided(count, 16) * 16 }
        guard g > 4 else { return g }
        return (2..<g).first { f in
            g % f == 0 && spec.intermediateSize / f <= 12 * 16 * warps
                && padded(divided(c, members * g / f)) * g <= padded(divided(c, members)) * f
        } ?? g
    }

    /// `Wide` of SpeculationState.cuh, member by member, and what it leaves of `Shared`.
    private static func speculationByteBound(
        _ spec: TransformerSpec, groups g: Int, members: Int, format: DecodeWeightFormat, positions: Int
    ) -> Int {
        func divided(_ a: Int, _ b: Int) -> Int { (a + b - 1) / b }
        func padded(_ count: Int, _ unit: Int) -> Int { divided(count, unit) * unit }
        let (c, d) = (spec.hiddenSize, spec.headDimension)
        let heads = spec.queryHeads / g
        let feeds = feedGroups(spec, groups: g, members: members)
        let feedMembers = members * g / feeds
        let pairs = divided(spec.intermediateSize / feeds, feedMembers)
        let unitRows = divided(c, feedMembers)
        let rows = [g / feeds * unitRows, 2 * padded(pairs, 8), (heads + 2) * d / members].reduce(0) { max($0, padded($1, 16)) }
        let headColumns = padded(divided(c, 32), chunkFragments(spec, groups: g, members: members, format: format)) * 32
        let vector = 4 * [c, pairs * feedMembers].reduce(headColumns) { max($0, padded($1, 128)) }
        let products = vector + 48 * rows
        let parts = warps * 4 * (heads * d + 2 * heads)
        let area = c % 128 == 0 && pairs * feedMembers % 128 == 0 ? max(products, parts) : products + parts
        let stream = divided(feedMembers * divided(unitRows, 6), 256) * 6 * 1024
        let tokens = 4 * padded(heads * d, 128) + 4 * heads * d + 4 * d + 8 * d + 12 * warps
        let layers = spec.layers.count * 24
        let factors =
            format == .bfloat16
            ? 0 : 8 * (padded((heads + 2) * d / members, 16) + padded(g / feeds * unitRows, 16) + 2 * padded(pairs, 8) + padded(unitRows, 16))
        let rest = 8 * d + 8 * heads * d + layers + factors
        return positions * (area + stream + tokens + 64) + rest + 4 * 512 + 2048
    }
}

extension TransformerSpec.Activation {
    /// As Common/Math.cuh numbers them.
    var kernelNumber: Int {
        switch self {
        case .silu: 1
        case .geluTanh: 2
        case .geluErf: 3
        }
    }
}
