package import CUDA
import Operators
import Tensors

/// One form of Kernels/Prefill/LayerHopper.cu: all products between two attentions, with the norms and residuals around them.
package struct LayerVariant: KernelVariant {
    package static let path = "Prefill/LayerHopper.cu"
    package let entry = "apus_layer_hopper"

    /// The heads that the last of the products computes for the layer behind.
    package struct Projection: Hashable, Sendable {
        package var queryHeads: Int
        package var keyHeads: Int
        /// Heads in all.
        package var heads: Int

        package init(queryHeads: Int, keyHeads: Int, heads: Int) {
            self.queryHeads = queryHeads
            self.keyHeads = keyHeads
            self.heads = heads
        }
    }

    let columns: Int
    let attended: Int
    let gated: Int
    let head: Int
    let activation: Activation
    let isSandwich: Bool
    let projection: Projection?

    /// - Returns: nil for a model that the kernel does not compute.
    package init?(_ spec: TransformerSpec, projection: Projection?) {
        guard Self.supports(spec) else { return nil }
        columns = spec.hiddenSize
        attended = spec.queryHeads * spec.headDimension
        gated = spec.intermediateSize
        head = spec.headDimension
        activation = spec.activation.gate
        isSandwich = spec.normPlacement == .sandwich
        self.projection = projection
    }

    package static func supports(_ spec: TransformerSpec) -> Bool {
        let widths = [spec.hiddenSize, spec.queryHeads * spec.headDimension, spec.intermediateSize]
        return widths.allSatisfy { $0 % 64 == 0 } && [64, 128, 256].contains(spec.headDimension) && spec.activation != .geluErf
    }

    /// Columns of a tile of what is added to the residual stream: the most that divide its width.
    package static func tile(columns: Int) -> Int { [160, 128, 96].first { columns % $0 == 0 } ?? 64 }
    /// Parts of a row's sum of squares, one a tile.
    package static func parts(columns: Int) -> Int { columns / tile(columns: columns) }

    var tile: Int { Self.tile(columns: columns) }
    /// Blocks that share the tiles of a weight, each with a row of tiles of its own.
    static let cluster = 2
    package var threadCount: Int { 384 }
    package var sharedByteCount: Int { 1024 + 4 * 40_960 + 2 * 24_576 + 256 + 8 * tile + 1024 + 10 * head }

    package var constants: KernelConstants {
        KernelConstants([
            "LAYER_COLUMNS": columns, "LAYER_ATTENDED": attended, "LAYER_GATED": gated, "LAYER_HEAD": head,
            "LAYER_PROJECTED": (projection?.heads ?? 0) * head, "LAYER_QUERY_HEADS": projection?.queryHeads ?? 0,
            "LAYER_KEY_HEADS": projection?.keyHeads ?? 0, "LAYER_ACTIVATION": activation.kernelNumber, "LAYER_TILE": tile,
            "LAYER_SANDWICH": isSandwich ? 1 : 0, "LAYER_CLUSTER": Self.cluster,
        ])
    }

    /// Rows of tiles of 128 or 64 rows each, those of a cluster together.
    static func units(rows: Int, of height: Int) -> Int { (rows + cluster * height - 1) / (cluster * height) }

    /// Tiles of a pass over so many rows, those of a cluster together.
    func tiles(rows: Int) -> Int {
        let gates = (2 * gated + 191) / 192
        let heads = ((projection?.heads ?? 0) * head + 255) / 256
        return Self.units(rows: rows, of: 128) * (2 * (columns / tile) + gates) + Self.units(rows: rows, of: 64) * heads
    }
}

/// The tensors of such a launch.
struct LayerArguments {
    let attended: DeviceTensor  // [T, A] bf16
    let x: DeviceTensor  // [T, C] bf16, the first half of the residual stream
    let rest: DeviceTensor  // [T, C], the other
    let gated: DeviceTensor  // [T, I] bf16
    let outputWeight: DeviceTensor  // [C, A] bf16
    let gateUpWeight: DeviceTensor  // [2 I, C] bf16, in turns of eight
    let downWeight: DeviceTensor  // [C, I] bf16
    let outputNorm: DeviceTensor?  // [C] fp32
    let downNorm: DeviceTensor?  // [C] fp32
    let sums: RowSums
    /// What is projected for the layer behind.
    var projection: (heads: DeviceTensor, weight: DeviceTensor, norms: DeviceTensor, frequencies: DeviceTensor, positions: DeviceTensor)?
}

/// The kernels of that file that a context has compiled.
final class LayerKernels: Sendable {
    private let context: OperatorContext
    private let kernels = LoadedKernels<LayerVariant>()

    init(_ context: OperatorContext) { self.context = context }

    func run(_ variant: LayerVariant, _ arguments: LayerArguments, epsilon: Float) throws {
        let rows = arguments.x.shape[0]
        guard rows > 0 else { return }
        let loaded = try kernels.kernel(variant, in: context)
        let (tile, cluster) = (variant.tile, LayerVariant.cluster)
        func map(_ tensor: DeviceTensor, _ columns: Int, rows: Int, box: [Int]) throws(CUDAError) -> TensorMap {
            try TensorMap(
                tensor.address, element: .bfloat16, sizes: [columns, rows], strides: [2 * columns], box: box,
                swizzle: box[0] == 64 ? .bytes128 : .bytes64, promotion: .bytes256, context: context.context)
        }
        let (c, a, i) = (variant.columns, variant.attended, variant.gated)
        let projected = (variant.projection?.heads ?? 0) * variant.head
        let maps = LayerMaps(
            attended: try map(arguments.attended, a, rows: rows, box: [64, 128]), rows: try map(arguments.x, c, rows: rows, box: [64, 128]),
            gated: try map(arguments.gated, i, rows: rows, box: [64, 128]), halfRows: try map(arguments.x, c, rows: rows, box: [64, 64]),
            outputWeight: try map(arguments.outputWeight, a, rows: c, box: [64, tile / cluster]),
            gateUpWeight: try map(arguments.gateUpWeight, c, rows: 2 * i, box: [64, 192 / cluster]),
            downWeight: try map(arguments.downWeight, i, rows: c, box: [64, tile / cluster]),
            headsWeight: try arguments.projection.map { try map($0.weight, c, rows: projected, box: [64, 256 / cluster]) } ?? .unused,
            x: try map(arguments.x, c, rows: rows, box: [32, 64]), rest: try map(arguments.rest, c, rows: rows, box: [32, 64]),
            gatedOut: try map(arguments.gated, i, rows: rows, box: [32, 64]),
            headsOut: try arguments.projection.map { try map($0.heads, projected, rows: rows, box: [64, 64]) } ?? .unused)
        func address(_ tensor: DeviceTensor?) -> DeviceAddress { tensor?.address ?? DeviceAddress(bits: 0) }
        let pointers = LayerPointers(
            outputNorm: address(arguments.outputNorm), downNorm: address(arguments.downNorm), sums: arguments.sums.values.address,
            headWeights: address(arguments.projection?.norms), frequencies: address(arguments.projection?.frequencies),
            positions: address(arguments.projection?.positions), packets: arguments.sums.packets.0.address,
            cleared: arguments.sums.packets.1.address, done: try arguments.sums.nextCounters().address, epsilon: epsilon, rows: Int32(rows),
            rowUnits: Int32(LayerVariant.units(rows: rows, of: 128)), halfRowUnits: Int32(LayerVariant.units(rows: rows, of: 64)),
            tiles: Int32(variant.tiles(rows: rows)))
        try loaded.kernel.launch(
            LaunchConfiguration(
                grid: Extent(cluster * min(context.device.multiprocessorCount / cluster, variant.tiles(rows: rows))),
                block: Extent(variant.threadCount), cluster: Extent(cluster), sharedByteCount: variant.sharedByteCount,
                isProgrammatic: context.overlapsLaunches), on: context.stream, maps, pointers)
    }
}

/// `Maps` of LayerHopper.cu.
private struct LayerMaps: KernelParameter {
    let attended: TensorMap
    let rows: TensorMap
    let gated: TensorMap
    let halfRows: TensorMap
    let outputWeight: TensorMap
    let gateUpWeight: TensorMap
    let downWeight: TensorMap
    let headsWeight: TensorMap
    let x: TensorMap
    let rest: TensorMap
    let gatedOut: TensorMap
    let headsOut: TensorMap
}

/// `Arguments` of LayerHopper.cu.
private struct LayerPointers: KernelParameter {
    let outputNorm: DeviceAddress
    let downNorm: DeviceAddress
    let sums: DeviceAddress
    let headWeights: DeviceAddress
    let frequencies: DeviceAddress
    let positions: DeviceAddress
    let packets: DeviceAddress
    let cleared: DeviceAddress
    let done: DeviceAddress
    let epsilon: Float
    let rows: Int32
    let rowUnits: Int32
    let halfRowUnits: Int32
    let tiles: Int32
    private let reserved: Int32 = 0
}

/// The sums of squares of the residual stream's rows while they pass through the layers, and what blocks tell each other through meanwhile.
final class RowSums {
    let values: DeviceTensor  // [T, parts] fp32
    /// What the tiles of a row exchange their sums through, all ones between launches. [T, parts] uint32 each
    let packets: (DeviceTensor, DeviceTensor)
    /// Finished tiles of each row of tiles, of each product of each layer. [layers, 3, rows of tiles] uint32, zeros
    private let counters: DeviceTensor
    private var layer = 0

    init(rows: Int, parts: Int, layers: Int, on context: OperatorContext) throws {
        values = try context.tensor(.float32, [rows, parts])
        packets = (try context.tensor(.uint32, [rows, parts]), try context.tensor(.uint32, [rows, parts]))
        counters = try context.tensor(.uint32, [layers, 3, LayerVariant.cluster * LayerVariant.units(rows: rows, of: 128)])
        for tensor in [packets.0, packets.1] { try context.stream.fill(tensor.region, with: 0xff) }
        try context.stream.fill(counters.region)
    }

    /// Those of the next layer.
    func nextCounters() throws -> DeviceTensor {
        defer { layer += 1 }
        return try counters.slice(0, layer..<layer + 1)
    }
}
