package import Tensors

/// All weights of a model, each where it lies in the mapped checkpoint.
package struct TransformerWeights: Sendable {
    /// Letters as in ``TransformerSpec``; every matrix is `[output features, input features]`.
    package struct Layer: Sendable {
        package let attentionNorm: WeightMatrix  // [C]
        package let query: WeightMatrix  // [H D, C]
        package let key: WeightMatrix  // [G D, C]
        package let value: WeightMatrix  // [G D, C]
        package let queryNorm: WeightMatrix?  // [D]
        package let keyNorm: WeightMatrix?  // [D]
        package let output: WeightMatrix  // [C, H D]
        package let attentionOutputNorm: WeightMatrix?  // [C]
        package let feedForwardNorm: WeightMatrix  // [C]
        package let gate: WeightMatrix  // [I, C]
        package let up: WeightMatrix  // [I, C]
        package let down: WeightMatrix  // [C, I]
        package let feedForwardOutputNorm: WeightMatrix?  // [C]
    }

    package let embedding: WeightMatrix  // [V, C]
    package let layers: [Layer]
    package let finalNorm: WeightMatrix  // [C]
    /// `[V, C]`; the embedding table where tied, nil for an encoder whose checkpoint has no head.
    package let head: WeightMatrix?

    /// Bytes of all weights as they lie in the file.
    package let byteCount: Int

    /// Finds every tensor that `spec` calls for under one of the family's prefixes.
    ///
    /// - Throws: ``TransformerError`` naming the tensor that is missing, has another shape or type, or that the configuration does not explain: a
    ///   bias or a further layer would silently be left out of the computation.
    package init(_ checkpoint: SafetensorsCheckpoint, spec: TransformerSpec, names: TensorNames) throws {
        guard let prefix = names.prefixes.first(where: { checkpoint[$0 + names.embedding] != nil }) else {
            let tried = names.prefixes.map { "'\($0)\(names.embedding)'" }.joined(separator: " or ")
            throw TransformerError(.missingTensor, "the checkpoint has no tensor \(tried)")
        }
        var used: Set<String> = []
        var total = 0
        func matrix(_ name: String, rows: Int, columns: Int) throws -> WeightMatrix {
            guard checkpoint[name] != nil else {
                throw TransformerError(.missingTensor, "the checkpoint has no tensor '\(name)', expected [\(rows), \(columns)]")
            }
            used.insert(name)
            let matrix = try WeightMatrix(checkpoint.tensor(name), name: name, rows: rows, columns: columns)
            total += matrix.byteCount
            return matrix
        }
        func vector(_ name: String, _ count: Int) throws -> WeightMatrix { try matrix(name, rows: 1, columns: count) }

        let c = spec.hiddenSize
        let (q, kv) = (spec.queryHeads * spec.headDimension, spec.keyValueHeads * spec.headDimension)
        embedding = try matrix(prefix + names.embedding, rows: spec.vocabularySize, columns: c)
        var layers: [Layer] = []
        for index in spec.layers.indices {
            let l = prefix + names.layer(index)
            layers.append(
                Layer(
                    attentionNorm: try vector(l + names.attentionNorm, c),
                    query: try matrix(l + names.query, rows: q, columns: c),
                    key: try matrix(l + names.key, rows: kv, columns: c),
                    value: try matrix(l + names.value, rows: kv, columns: c),
                    queryNorm: spec.hasQueryKeyNorm ? try vector(l + names.queryNorm, spec.headDimension) : nil,
                    keyNorm: spec.hasQueryKeyNorm ? try vector(l + names.keyNorm, spec.headDimension) : nil,
                    output: try matrix(l + names.output, rows: c, columns: q),
                    attentionOutputNorm: try names.attentionOutputNorm.map { try vector(l + $0, c) },
                    feedForwardNorm: try vector(l + names.feedForwardNorm, c),
                    gate: try matrix(l + names.gate, rows: spec.intermediateSize, columns: c),
                    up: try matrix(l + names.up, rows: spec.intermediateSize, columns: c),
                    down: try matrix(l + names.down, rows: c, columns: spec.intermediateSize),
                    feedForwardOutputNorm: try names.feedForwardOutputNorm.map { try vector(l + $0, c) }))
        }
        for layer in layers where layer.gate.type != layer.up.type {
            throw TransformerError(
                .unsupportedType, "'\(layer.gate.name)' is \(layer.gate.typeName) but '\(layer.up.name)' is \(layer.up.typeName); they must agree")
        }
        self.layers = layers
        finalNorm = try vector(prefix + names.finalNorm, c)
        let headName = names.heads.first { checkpoint[$0] != nil }
        if spec.hasTiedHead {
            // Some writers store the tied table a second time; it is the same table by definition.
            head = embedding
            if let headName { used.insert(headName) }
        } else if let headName {
            head = try matrix(headName, rows: spec.vocabularySize, columns: c)
        } else {
            head = nil
        }
        byteCount = total

        let unexplained = checkpoint.names.filter { name in
            !used.contains(name) && !name.hasSuffix("rotary_emb.inv_freq") && !names.foreignPrefixes.contains { name.hasPrefix($0) }
        }
        guard unexplained.isEmpty else {
            let shown = unexplained.sorted().prefix(4).map { "'\($0)'" }.joined(separator: ", ")
            throw TransformerError(
                .unexpectedTensor,
                "the checkpoint has \(unexplained.count) tensor(s) that the configuration does not explain, such as \(shown); "
                    + "computing without them would give wrong results")
        }
    }
}
