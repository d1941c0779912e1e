import CUDA
import Operators
import Tensors

/// Which kernels the embedding of texts takes, whatever their lengths and number: what ``CUDAExecutor`` will ask for, told beforehand.
///
/// Follows `CUDAExecutor.run`, `runLastLayer` and `startEncoding` step by step; a test asks for texts of all kinds and sees that nothing is compiled late.
struct EncodingForecast {
    let spec: TransformerSpec
    let fusion: PrefillFusion
    let precision: MatrixPrecision
    let residual: ResidualForm
    /// Rows of the largest batch.
    let rows: Int
    private let operators: KernelForecast

    init(
        _ spec: TransformerSpec, on context: OperatorContext, path: KernelPath, fusion: PrefillFusion, precision: MatrixPrecision,
        residual: ResidualForm, rows: Int
    ) {
        self.spec = spec
        self.fusion = fusion
        self.precision = precision
        self.residual = residual
        self.rows = rows
        operators = KernelForecast(context, path: path)
    }

    /// What takes long first.
    func forms(_ head: EncoderHead) throws -> [KernelForm] {
        let pooling = head.pooling
        var forms: [KernelForm] = precision == .float8 ? try codes() : []
        forms += try fusion == .full ? wholeLayers(pooling) : layers(pooling)
        for mask in Set(spec.layers.indices.map { spec.mask(layer: $0) }) {
            forms += try operators.attention(
                tokens: rows, longest: spec.maximumPositions, queryHeads: spec.queryHeads, keyHeads: spec.keyValueHeads, head: spec.headDimension,
                mask: mask)
        }
        forms += [row(.pool(pooling)), row(.normalize)]
        if DeviceDenseLayers.takes(head.dense) {
            for dense in head.dense {
                forms += try operators.gemm(
                    rows: [1], inner: dense.weight.columns, columns: dense.weight.rows, hasBias: dense.bias != nil, .float32)
            }
        }
        return forms
    }

    private func row(_ kind: RowsVariant.Kind) -> KernelForm { KernelForm(RowsVariant(kind, spec, residual: residual)) }

    private func heads(_ operands: LayerOperands, query: Int, key: Int, values: Int) -> KernelForm {
        KernelForm(
            LayerGEMMVariant(
                .heads(size: spec.headDimension, query: query, key: key), operands, columns: (query + key + values) * spec.headDimension))
    }

    /// One kernel a layer.
    private func wholeLayers(_ pooling: EncoderHead.Pooling) -> [KernelForm] {
        let (h, g) = (spec.queryHeads, spec.keyValueHeads)
        let (parts, isLastToken) = (LayerVariant.parts(columns: spec.hiddenSize), pooling == .lastToken)
        var projections: [LayerVariant.Projection?] = [nil]
        if spec.layers.count > 1 { projections.append(.init(queryHeads: h, keyHeads: g, heads: h + 2 * g)) }
        if spec.layers.count > 1, isLastToken { projections.append(.init(queryHeads: 0, keyHeads: g, heads: 2 * g)) }
        var forms = projections.compactMap { LayerVariant(spec, projection: $0).map { KernelForm($0) } }
        let operands = LayerOperands.bfloat16(sumParts: parts)
        forms += [heads(operands, query: h, key: g, values: g), row(.embedSums(parts: parts))]
        guard isLastToken else { return forms }
        forms += [heads(operands, query: h, key: 0, values: 0), row(.takeSums(parts: parts))]
        if spec.layers.count == 1 { forms.append(heads(operands, query: 0, key: g, values: g)) }
        return forms
    }

    /// A kernel for each operation.
    private func layers(_ pooling: EncoderHead.Pooling) throws -> [KernelForm] {
        let (h, g, d) = (spec.queryHeads, spec.keyValueHeads, spec.headDimension)
        let (c, isLastToken) = (spec.hiddenSize, pooling == .lastToken)
        // Few rows take smaller tiles.
        let rows = [self.rows, 1]
        // Queries and keys of all rows; the last layer's keys of all rows and queries of the picked ones.
        let projections = [(h, g)] + (isLastToken ? [(0, g), (h, 0)] : [])
        var forms: [KernelForm] = []
        for (query, key) in projections {
            guard fusion == .none else {
                forms.append(heads(.bfloat16(sumParts: 0), query: query, key: key, values: key))
                continue
            }
            forms += try operators.gemm(rows: rows, inner: c, columns: (query + 2 * key) * d)
            forms.append(try operators.normAndRotate(queryHeads: query, keyHeads: key, head: d, unitOffset: spec.normWeightOffset == 1))
        }
        forms += try operators.gatedMLP(rows: rows, inner: c, columns: spec.intermediateSize, spec.activation.gate)
        forms += try operators.gemm(rows: rows, inner: spec.intermediateSize, columns: c) + operators.gemm(rows: rows, inner: h * d, columns: c)
        forms += [true, false].map { row(.residual(isSandwich: spec.normPlacement == .sandwich, hasNext: $0)) }
        return forms + [row(.embed)] + (isLastToken ? [row(.take)] : [])
    }

    /// The products of layers in codes, what feeds them, and what makes their weights.
    private func codes() throws -> [KernelForm] {
        let (h, g) = (spec.queryHeads, spec.keyValueHeads)
        var forms = try operators.quantize(columns: spec.hiddenSize, .tensor) + operators.quantize(columns: spec.intermediateSize, .row)
        forms.append(heads(.codes(hasColumnScales: false), query: h, key: g, values: g))
        forms.append(
            KernelForm(
                LayerGEMMVariant(.gated(spec.activation.gate), .codes(hasColumnScales: false), columns: 2 * spec.intermediateSize)))
        forms.append(KernelForm(LayerGEMMVariant(.plain, .codes(hasColumnScales: true), columns: spec.hiddenSize)))
        return forms + [row(.residualCodes(isSandwich: spec.normPlacement == .sandwich))]
    }
}
