package import CUDA
import Operators
import Tensors

/// The kernels of Kernels/Prefill/Rows.cu: what a pass does to whole rows of the residual stream between its products.
///
/// Everything goes into the context's stream, unchecked but for what launching checks: shapes are the executor's own.
struct RowKernels: Sendable {
    let context: OperatorContext
    let spec: TransformerSpec
    let residual: ResidualForm
    private let kernels = LoadedKernels<RowsVariant>()

    init(_ context: OperatorContext, _ spec: TransformerSpec, residual: ResidualForm) {
        self.context = context
        self.spec = spec
        self.residual = residual
    }

    /// x = table[id] · scale; h = norm(x, w).
    func embed(_ ids: DeviceTensor, table: DeviceTensor, scale: Float, norm weight: DeviceTensor, _ space: PassSpace) throws {
        try gather(.embed, ids, table, scale: scale, norm: weight, to: space, second: space.h)
    }

    /// x = rows of `source`; h = norm(x, w). rows [S] int32, below the rows of `source`.
    func take(_ rows: DeviceTensor, of source: PassSpace, norm weight: DeviceTensor, to own: PassSpace) throws {
        try gather(.take, rows, source.x, plane: source.plane, norm: weight, to: own, second: own.h)
    }

    /// x = table[id] · scale, and the sums of squares of its rows.
    func embed(_ ids: DeviceTensor, table: DeviceTensor, scale: Float, _ space: PassSpace, sums: DeviceTensor) throws {
        try gather(.embedSums(parts: sums.shape[1]), ids, table, scale: scale, norm: nil, to: space, second: sums)
    }

    /// x = rows of `source`, and their sums of squares.
    func take(_ rows: DeviceTensor, of source: PassSpace, to own: PassSpace, sums: DeviceTensor) throws {
        try gather(.takeSums(parts: sums.shape[1]), rows, source.x, plane: source.plane, norm: nil, to: own, second: sums)
    }

    /// h = norm(x, w).
    func norm(_ space: PassSpace, weight: DeviceTensor) throws {
        try gather(.take, nil, space.x, plane: space.plane, norm: weight, to: space, second: space.h)
    }

    /// A gather from a table or from another residual stream. `second`: the normed rows, or sums of squares.
    private func gather(
        _ kind: RowsVariant.Kind, _ ids: DeviceTensor?, _ table: DeviceTensor, plane: Int = 0, scale: Float = 1, norm weight: DeviceTensor?,
        to space: PassSpace, second: DeviceTensor
    ) throws {
        let (variant, loaded) = try kernel(kind)
        let (rows, none) = (ids?.shape[0] ?? table.shape[0], DeviceAddress(bits: 0))
        try loaded.kernel.launch(
            launch(variant, rows: rows), on: context.stream, ids?.address ?? none, table.address, weight?.address ?? none,
            space.x.address, second.address, scale, spec.normEpsilon, Int32(rows), Int32(table.shape[0]), Int64(space.plane), Int64(plane))
    }

    /// x in one tensor of fp32.
    func join(_ space: PassSpace) throws -> DeviceTensor {
        guard residual == .halves else { return space.x }
        let whole = try context.tensor(.float32, space.x.shape)
        let (_, loaded) = try kernel(.join)
        try loaded.kernel.launch(
            LaunchConfiguration(grid: Extent((whole.elementCount / 8 + 255) / 256), block: 256, isProgrammatic: context.overlapsLaunches),
            on: context.stream, space.x.address, whole.address, Int64(whole.elementCount), Int64(space.plane))
        return whole
    }

    /// x += y, or x += norm(y, w1) where a branch has a norm of its own; h = norm(x, w2), left out where there is no w2.
    func addBranch(_ y: DeviceTensor, norm branch: DeviceTensor?, to x: DeviceTensor, next: DeviceTensor?, h: DeviceTensor) throws {
        let rows = x.shape[0]
        let (variant, loaded) = try kernel(.residual(isSandwich: branch != nil, hasNext: next != nil))
        let none = DeviceAddress(bits: 0)
        try loaded.kernel.launch(
            launch(variant, rows: rows), on: context.stream, x.address, y.address, branch?.address ?? none, next?.address ?? none, x.address,
            h.address, spec.normEpsilon, Int32(rows), Int64(0))
    }

    /// x += y, or x += norm(y, w1); norm(x, w2) as codes with a scale for each row. `bound` times a row's sum of squares is the scale of what is gated
    /// behind it.
    func addBranch(
        _ y: DeviceTensor, norm branch: DeviceTensor?, to x: DeviceTensor, next: DeviceTensor, codes: Float8Rows, bound: Float
    ) throws {
        let rows = x.shape[0]
        let (variant, loaded) = try kernel(.residualCodes(isSandwich: branch != nil))
        try loaded.kernel.launch(
            launch(variant, rows: rows), on: context.stream, x.address, y.address, branch?.address ?? DeviceAddress(bits: 0), next.address,
            x.address, codes.codes.address, spec.normEpsilon, Int32(rows), codes.scales.address, codes.gatedScales.address, bound,
            Int64(0))
    }

    /// norm(x, w) of each sequence's last or first row, or the mean of norm(x, w) over its rows. offsets [S + 1] int32, pooled [S, C] fp32.
    func pool(
        _ space: PassSpace, offsets: DeviceTensor, norm weight: DeviceTensor, pooling: EncoderHead.Pooling, into pooled: DeviceTensor
    ) throws {
        let x = space.x
        let sequences = pooled.shape[0]
        let (variant, loaded) = try kernel(.pool(pooling))
        guard pooling == .mean else {
            let none = DeviceAddress(bits: 0)
            try loaded.kernel.launch(
                launch(variant, rows: sequences), on: context.stream, x.address, weight.address, offsets.address, pooled.address, none, none,
                spec.normEpsilon, Int32(sequences), Int64(space.plane))
            return
        }
        let chunks = x.shape[0] / RowsVariant.chunk + sequences
        let partial = try context.tensor(.float32, [chunks, spec.hiddenSize])
        let counters = try context.tensor(.uint32, [sequences])
        try context.stream.fill(counters.region)
        try loaded.kernel.launch(
            LaunchConfiguration(
                grid: Extent(chunks), block: Extent(variant.threadCount), isProgrammatic: context.overlapsLaunches), on: context.stream,
            x.address, weight.address, offsets.address, pooled.address, partial.address, counters.address, spec.normEpsilon, Int32(sequences),
            Int64(space.plane))
        extendLifetime((partial, counters))
    }

    /// The first columns of every row of `vectors` [S, W] fp32, scaled to length 1 where asked, into `output` [S, columns] fp32.
    func normalize(_ vectors: DeviceTensor, isUnit: Bool, into output: DeviceTensor) throws {
        let sequences = output.shape[0]
        let (_, loaded) = try kernel(.normalize)
        try loaded.kernel.launch(
            LaunchConfiguration(grid: Extent((sequences + 3) / 4), block: 128, isProgrammatic: context.overlapsLaunches), on: context.stream,
            vectors.address, output.address, Int32(sequences), Int32(vectors.shape[1]), Int32(output.shape[1]), Int32(isUnit ? 1 : 0))
    }

    /// Rows of keys and values [T, G, D], evenly spaced, into a cache's rows from `start` on.
    func store(keys: DeviceTensor, values: DeviceTensor, into keyCache: DeviceTensor, _ valueCache: DeviceTensor, start: Int) throws {
        let rows = keys.shape[0]
        let width = spec.keyValueHeads * spec.headDimension
        let (_, loaded) = try kernel(.cache)
        let blocks = min((rows * width / 8 + 255) / 256, 8 * context.device.multiprocessorCount)
        try loaded.kernel.launch(
            LaunchConfiguration(grid: Extent(max(1, blocks)), block: 256, isProgrammatic: context.overlapsLaunches), on: context.stream,
            keys.address, values.address, keyCache.address, valueCache.address, DeviceAddress(bits: 0), Int64(keys.strides[0]), Int32(rows),
            Int32(width), Int32(start), Int32(keyCache.shape[0]))
    }

    private func kernel(_ kind: RowsVariant.Kind) throws -> (RowsVariant, LoadedKernel) {
        let variant = RowsVariant(kind, spec, residual: residual)
        return (variant, try kernels.kernel(variant, in: context))
    }

    private func launch(_ variant: RowsVariant, rows: Int) -> LaunchConfiguration {
        LaunchConfiguration(
            grid: Extent((rows + variant.rowsPerBlock - 1) / variant.rowsPerBlock), block: Extent(variant.threadCount),
            isProgrammatic: context.overlapsLaunches)
    }
}

/// The forms of Kernels/Prefill/Rows.cu.
package struct RowsVariant: KernelVariant {
    package static let path = "Prefill/Rows.cu"
    /// Rows that one block adds up for a mean.
    static let chunk = 256

    package enum Kind: Hashable, Sendable {
        case embed
        case take
        case embedSums(parts: Int)
        case takeSums(parts: Int)
        case residual(isSandwich: Bool, hasNext: Bool)
        case residualCodes(isSandwich: Bool)
        case pool(EncoderHead.Pooling)
        case join
        case normalize
        case cache
    }

    let kind: Kind
    let columns: Int
    let unitOffset: Bool
    let isSandwich: Bool
    let residual: ResidualForm

    package init(_ kind: Kind, _ spec: TransformerSpec, residual: ResidualForm) {
        self.kind = kind
        columns = spec.hiddenSize
        unitOffset = spec.normWeightOffset == 1
        isSandwich = spec.normPlacement == .sandwich
        self.residual = residual
    }

    /// The most columns that a block of 256 lanes with six pieces of eight each can hold.
    package static let maximumColumns = 256 * 6 * 8

    /// Threads of a row: the fewest that hold it in six pieces of eight columns each.
    package var lanes: Int { [16, 32, 64, 128].first { columns <= $0 * 6 * 8 } ?? 256 }
    package var rowsPerBlock: Int { max(1, threadCount / lanes) }
    package var threadCount: Int { lanes > 32 ? lanes : 128 }
    package var sharedByteCount: Int { 0 }

    /// Whether rows are gathered from the residual stream itself.
    private var takes: Bool {
        switch kind {
        case .take, .takeSums: true
        default: false
        }
    }

    package var entry: String {
        switch kind {
        case .embed, .take, .embedSums, .takeSums: "apus_rows_embed"
        case .residual, .residualCodes: "apus_rows_residual"
        case .pool: "apus_rows_pool"
        case .join: "apus_rows_join"
        case .normalize: "apus_rows_normalize"
        case .cache: "apus_rows_cache"
        }
    }

    package var constants: KernelConstants {
        // Kinds that do not care take what the others have, so that one compilation serves them all.
        var (isSandwich, hasNext, pool) = (self.isSandwich, true, 0)
        var (parts, next) = (4, 1)
        var output = DType.bfloat16
        switch kind {
        case .residual(let sandwich, let next): (isSandwich, hasNext) = (sandwich, next)
        case .residualCodes(let sandwich): (isSandwich, output) = (sandwich, .float8E4M3)
        case .embedSums(let count), .takeSums(let count): (parts, next) = (count, 2)
        case .pool(.mean): pool = 1
        case .pool(.firstToken): pool = 2
        default: break
        }
        return KernelConstants([
            "ROWS_COLUMNS": columns, "ROWS_LANES": lanes, "ROWS_BLOCK": threadCount, "ROWS_RESIDUAL": residual.dtype.kernelNumber,
            "ROWS_SPLIT": residual == .halves ? 1 : 0, "ROWS_BRANCH": 0, "ROWS_OUTPUT": output.kernelNumber,
            "ROWS_WEIGHT": DType.float32.kernelNumber,
            "ROWS_TABLE": takes ? residual.dtype.kernelNumber : 0, "ROWS_TABLE_SPLIT": takes && residual == .halves ? 1 : 0,
            "ROWS_UNIT_OFFSET": unitOffset ? 1 : 0, "ROWS_SANDWICH": isSandwich ? 1 : 0, "ROWS_NEXT": hasNext ? next : 0, "ROWS_PARTS": parts,
            "ROWS_POOL": pool,
            "ROWS_CHUNK": Self.chunk,
        ])
    }
}
