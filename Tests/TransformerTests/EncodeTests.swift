import Testing
import Transformer

@Suite struct EncodeTests {
    @Test(arguments: GoldenModel.encoders) func aVectorDoesNotDependOnItsBatch(name: String) throws {
        let golden = try GoldenModel(name) { $0.maximumPositions = 1200 }
        let executor = try golden.executor()
        let head = EncoderHead(pooling: .mean)
        var sequences = golden.sequences
        for length in [31, 32, 33, 63, 64, 65, 511, 512, 513, 1100] { sequences.append((0..<length).map { Int32(($0 * 31 + length) % 131) }) }
        let together = try executor.encode(TokenBatch(sequences), head: head)
        let c = golden.spec.hiddenSize
        for (index, ids) in sequences.enumerated() {
            let alone = try executor.encode(TokenBatch([ids]), head: head)
            #expect(cosine(alone, together[index * c..<(index + 1) * c]) > 0.999999, "length \(ids.count)")
            #expect(abs(alone.reduce(0) { $0 + $1 * $1 } - 1) < 1e-5)
        }
    }

    @Test func fewerDimensionsAreTheFirstOnesNormedAgain() throws {
        let golden = try GoldenModel("gemma3-bidirectional")
        let executor = try golden.executor()
        let full = try executor.encode(TokenBatch(golden.sequences), head: EncoderHead(pooling: .mean))
        let cut = try executor.encode(TokenBatch(golden.sequences), head: EncoderHead(pooling: .mean, dimensions: 7))
        #expect(cut.count == golden.sequences.count * 7)
        let expected = full.prefix(7)
        let length = expected.reduce(0) { $0 + $1 * $1 }.squareRoot()
        #expect(relativeError(cut.prefix(7), expected.map { $0 / length }) < 1e-5)
        #expect(throws: TransformerError.self) {
            try executor.encode(TokenBatch(golden.sequences), head: EncoderHead(pooling: .mean, dimensions: 43))
        }
    }

    @Test func emptySequencesAndBatches() throws {
        let golden = try GoldenModel("qwen3-encoder")
        let executor = try golden.executor()
        let head = EncoderHead(pooling: .lastToken)
        #expect(try executor.encode(TokenBatch(), head: head).isEmpty)
        let error = #expect(throws: TransformerError.self) { try executor.encode(TokenBatch([[1], []]), head: head) }
        #expect(error?.code == .invalidToken)
        #expect(throws: TransformerError.self) { try executor.encode(TokenBatch([[131]]), head: head) }
        #expect(throws: TransformerError.self) { try executor.encode(TokenBatch([Array(repeating: 1, count: 257)]), head: head) }
    }

    @Test func blocksOfWholeSequencesCoverAllRows() {
        let pass = LayerPass(rowOffsets: [0, 300, 700, 701, 1400, 1410], keyOffsets: [0, 300, 700, 701, 1400, 1410], positions: [])
        #expect(pass.blocks(of: 512, wholeSequences: true) == [0..<300, 300..<701, 701..<1400, 1400..<1410])
        #expect(pass.blocks(of: 512, wholeSequences: false) == [0..<512, 512..<1024, 1024..<1410])
    }
}
