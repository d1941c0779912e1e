package import Operators
import Tensors

/// All weights of a model on one GPU: matrices in bf16 as the tensor cores take them, norms in fp32.
///
/// Letters as in ``TransformerSpec``. Matrices are `[output features, input features]`, row-major.
package struct DeviceWeights: Sendable {
    package struct Layer: Sendable {
        package let attentionNorm: DeviceTensor  // [C] fp32
        /// Rows of queries, then keys, then values.
        package let queryKeyValue: DeviceTensor  // [(H + 2 G) D, C] bf16
        package let queryNorm: DeviceTensor  // [D] fp32
        package let keyNorm: DeviceTensor  // [D] fp32
        package let output: DeviceTensor  // [C, H D] bf16
        package let attentionOutputNorm: DeviceTensor?  // [C] fp32
        package let feedForwardNorm: DeviceTensor  // [C] fp32
        package let gateUp: PackedGatedWeights  // [I / 8, 2, 8, C] bf16
        package let down: DeviceTensor  // [C, I] bf16
        package let feedForwardOutputNorm: DeviceTensor?  // [C] fp32
    }

    package let embedding: DeviceTensor  // [V, C] bf16
    package let layers: [Layer]
    package let finalNorm: DeviceTensor  // [C] fp32
    /// `[V, C]` bf16; the embedding table where tied, nil for an encoder whose checkpoint has no head.
    package let head: DeviceTensor?
    /// Bytes on the GPU.
    package let byteCount: Int
    /// What was rounded on the way, such as "F32"; nil where the file holds bf16.
    package let roundedFrom: String?

    /// Keeps the memory that the tensors lie in.
    private let arena: DeviceArena

    /// Copies the weights to the GPU of a context and waits for them.
    ///
    /// - Parameter foldsNorms: Multiplies the columns of ``Layer/queryKeyValue`` and ``Layer/gateUp`` by the norm ahead of them.
    /// - Throws: ``TransformerError`` with code `unsupportedModel` for a shape that the kernels do not compute (``obstacle(_:)``), `nonFinite` naming the
    ///   tensor that holds NaN or infinity; ``CUDAError`` with code `outOfMemory`, naming what all weights need and what is free.
    package init(_ weights: TransformerWeights, spec: TransformerSpec, foldsNorms: Bool = false, on context: OperatorContext) throws {
        if let obstacle = Self.obstacle(spec) {
            throw TransformerError(.unsupportedModel, "the GPU's kernels do not compute this model: \(obstacle); use the device cpu")
        }
        try WeightCheck.requireFinite(weights.all)
        let plan = WeightPlacement(spec, hasOwnHead: weights.head != nil && !spec.hasTiedHead)
        let arena = try DeviceArena(byteCount: plan.byteCount, in: context.context)
        var upload = WeightUpload(arena: arena, stream: context.stream)

        embedding = try upload.matrix([weights.embedding], at: plan.embedding)
        head =
            if let offset = plan.head, let own = weights.head { try upload.matrix([own], at: offset) } else { weights.head == nil ? nil : embedding }
        var layers: [Layer] = []
        for (layer, place) in zip(weights.layers, plan.layers) {
            guard let queryNorm = layer.queryNorm, let keyNorm = layer.keyNorm else {
                throw TransformerError(.missingTensor, "'\(layer.query.name)' has no norm of its heads beside it")
            }
            func norm(_ matrix: WeightMatrix, _ offset: Int) throws -> DeviceTensor { try upload.vector(matrix, at: offset) }
            func factors(_ matrix: WeightMatrix) -> [Float]? { foldsNorms ? matrix.floats.map { $0 + spec.normWeightOffset } : nil }
            layers.append(
                Layer(
                    attentionNorm: try norm(layer.attentionNorm, place.attentionNorm),
                    queryKeyValue: try upload.matrix(
                        [layer.query, layer.key, layer.value], folding: factors(layer.attentionNorm), at: place.queryKeyValue),
                    queryNorm: try norm(queryNorm, place.queryNorm), keyNorm: try norm(keyNorm, place.keyNorm),
                    output: try upload.matrix([layer.output], at: place.output),
                    attentionOutputNorm: try layer.attentionOutputNorm.map { try norm($0, place.attentionOutputNorm) },
                    feedForwardNorm: try norm(layer.feedForwardNorm, place.feedForwardNorm),
                    gateUp: try upload.gated(layer.gate, layer.up, folding: factors(layer.feedForwardNorm), at: place.gateUp),
                    down: try upload.matrix([layer.down], at: place.down),
                    feedForwardOutputNorm: try layer.feedForwardOutputNorm.map { try norm($0, place.feedForwardOutputNorm) }))
        }
        self.layers = layers
        finalNorm = try upload.vector(weights.finalNorm, at: plan.finalNorm)
        // Kernels may read weights before the work ahead of them in the stream has ended.
        try context.synchronize()
        byteCount = plan.byteCount
        roundedFrom = upload.roundedTypes.isEmpty ? nil : upload.roundedTypes.sorted().joined(separator: " and ")
        self.arena = arena
    }

    /// Why the kernels cannot compute models of this shape; nil where they can.
    package static func obstacle(_ spec: TransformerSpec) -> String? {
        guard [64, 128, 256].contains(spec.headDimension) else {
            return "its heads have \(spec.headDimension) elements, supported are 64, 128 and 256"
        }
        guard spec.queryHeads / spec.keyValueHeads <= 64 else {
            return "\(spec.queryHeads / spec.keyValueHeads) query heads share a key head, supported are 64 at most"
        }
        guard spec.hasQueryKeyNorm else { return "its query and key heads have no norm" }
        guard spec.hiddenSize % 8 == 0, spec.hiddenSize <= RowsVariant.maximumColumns else {
            return "its hidden size is \(spec.hiddenSize), supported are multiples of 8 up to \(RowsVariant.maximumColumns)"
        }
        guard spec.intermediateSize % 8 == 0 else { return "its intermediate size \(spec.intermediateSize) is no multiple of 8" }
        guard spec.normWeightOffset == 0 || spec.normWeightOffset == 1 else { return "its norms add \(spec.normWeightOffset) to their weights" }
        guard spec.normEpsilon > 0 else { return "its norms have no epsilon" }
        return nil
    }
}

/// Where each tensor of a model lies in the arena of its weights.
package struct WeightPlacement: Sendable, Equatable {
    package struct Layer: Sendable, Equatable {
        package let attentionNorm: Int
        package let queryKeyValue: Int
        package let queryNorm: Int
        package let keyNorm: Int
        package let output: Int
        package let attentionOutputNorm: Int
        package let feedForwardNorm: Int
        package let gateUp: Int
        package let down: Int
        package let feedForwardOutputNorm: Int
    }

    package let embedding: Int
    package let head: Int?
    package let layers: [Layer]
    package let finalNorm: Int
    package let byteCount: Int

    package init(_ spec: TransformerSpec, hasOwnHead: Bool) {
        var layout = ArenaLayout()
        let (c, d) = (spec.hiddenSize, spec.headDimension)
        embedding = layout.place(.bfloat16, [spec.vocabularySize, c])
        head = hasOwnHead ? layout.place(.bfloat16, [spec.vocabularySize, c]) : nil
        layers = spec.layers.map { _ in
            Layer(
                attentionNorm: layout.place(.float32, [c]),
                queryKeyValue: layout.place(.bfloat16, [(spec.queryHeads + 2 * spec.keyValueHeads) * d, c]),
                queryNorm: layout.place(.float32, [d]), keyNorm: layout.place(.float32, [d]),
                output: layout.place(.bfloat16, [c, spec.queryHeads * d]), attentionOutputNorm: layout.place(.float32, [c]),
                feedForwardNorm: layout.place(.float32, [c]), gateUp: layout.place(.bfloat16, [2 * spec.intermediateSize, c]),
                down: layout.place(.bfloat16, [c, spec.intermediateSize]), feedForwardOutputNorm: layout.place(.float32, [c]))
        }
        finalNorm = layout.place(.float32, [c])
        byteCount = layout.byteCount
    }
}
