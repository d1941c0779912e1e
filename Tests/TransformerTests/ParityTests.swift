import Testing
import Transformer

/// Logits and vectors against transformers (fp32, eager attention, unpadded).
@Suite struct ParityTests {
    private func allLogits(_ executor: CPUExecutor, _ ids: [Int32]) throws -> [Float] {
        var all: [Float] = []
        try executor.makeSession().extend(ids) { _, logits in all += logits }
        return all
    }

    @Test(arguments: GoldenModel.decoders) func logitsMatchTransformers(name: String) throws {
        let golden = try GoldenModel(name)
        let executor = try golden.executor()
        let expected = try #require(golden.logits)
        for (index, ids) in golden.sequences.enumerated() {
            let logits = try allLogits(executor, ids)
            #expect(relativeError(logits, golden.rows(of: index, in: expected, width: golden.spec.vocabularySize)) < 2e-3)
        }
    }

    @Test(arguments: GoldenModel.encoders) func hiddenStatesMatchTransformers(name: String) throws {
        let golden = try GoldenModel(name)
        let executor = try golden.executor()
        let c = golden.spec.hiddenSize
        for pooling in [EncoderHead.Pooling.lastToken, .firstToken, .mean] {
            let vectors = try executor.encode(TokenBatch(golden.sequences), head: EncoderHead(pooling: pooling, normalizes: false))
            for (index, ids) in golden.sequences.enumerated() {
                let rows = golden.rows(of: index, in: golden.hidden, width: c)
                let expected: [Float]
                switch pooling {
                case .lastToken: expected = Array(rows.suffix(c))
                case .firstToken: expected = Array(rows.prefix(c))
                case .mean:
                    expected = (0..<c).map { column in
                        stride(from: rows.startIndex + column, to: rows.endIndex, by: c).reduce(0) { $0 + rows[$1] } / Float(ids.count)
                    }
                }
                let vector = vectors[index * c..<(index + 1) * c]
                #expect(relativeError(vector, expected) < 2e-3, "\(pooling), sequence \(index)")
                #expect(cosine(vector, expected) > 0.99999)
            }
        }
    }

    /// Every trait must show in the output: a model computed without it must fail the comparison above.
    @Test(arguments: ["rope base", "window", "norm offset", "embedding scale", "activation", "sandwich", "QK-norm"])
    func aWrongTraitIsSeen(trait: String) throws {
        let golden = try GoldenModel("gemma3-window") { spec in
            switch trait {
            case "rope base": for index in spec.layers.indices { spec.layers[index].rope.base = 1_000_000 }
            case "window": for index in spec.layers.indices { spec.layers[index].window = nil }
            case "norm offset": spec.normWeightOffset = 0
            case "embedding scale": spec.embeddingScale = nil
            case "activation": spec.activation = .silu
            case "QK-norm": spec.attentionScale *= 1.1
            default: spec.normEpsilon = 0.5
            }
        }
        let expected = try #require(golden.logits)
        let logits = try allLogits(golden.executor(), golden.sequences[1])
        #expect(relativeError(logits, golden.rows(of: 1, in: expected, width: golden.spec.vocabularySize)) > 2e-2)
    }
}
