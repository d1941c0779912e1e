import Testing
import Transformer

/// A cache of codes on the CPU, which rounds what it keeps as a GPU does.
@Suite struct CacheFormatTests {
    private static func executor(_ golden: GoldenModel) throws -> CPUExecutor {
        try CPUExecutor(spec: golden.spec, weights: golden.weights, threads: 2, cacheFormat: .float8)
    }

    @Test(arguments: GoldenModel.decoders) func whatIsReadIsWhatWasRounded(name: String) throws {
        let golden = try GoldenModel(name)
        let executor = try Self.executor(golden)
        #expect(executor.cacheFormat == .float8)
        let ids = try #require(golden.sequences.max { $0.count < $1.count })
        let session = try executor.makeSession()
        let logits = try session.extend(ids)
        for layer in golden.spec.layers.indices {
            let rows = try executor.cachedRows(of: session, layer: layer)
            let d = golden.spec.headDimension
            #expect(rows.count == 2 * ids.count * golden.spec.keyValueHeads * d)
            for start in stride(from: 0, to: rows.count, by: d) {
                let row = Array(rows[start..<start + d])
                #expect(CodedCacheRow(row).values == row)
            }
        }
        // The first layer's keys before they are rounded.
        let plain = try golden.executor()
        let whole = try plain.makeSession()
        let expected = try whole.extend(ids)
        let (rows, exact) = (try executor.cachedRows(of: session, layer: 0), try plain.cachedRows(of: whole, layer: 0))
        let d = golden.spec.headDimension
        for start in stride(from: 0, to: rows.count, by: d) {
            #expect(CodedCacheRow(Array(exact[start..<start + d])).values == Array(rows[start..<start + d]))
        }
        #expect(logits != expected && relativeError(logits, expected) < 0.5)
    }

    @Test(arguments: GoldenModel.decoders) func piecesAndStepsAreTheWhole(name: String) throws {
        let golden = try GoldenModel(name)
        let executor = try Self.executor(golden)
        let ids = golden.sequences[golden.sequences.count - 1] + golden.sequences[0]
        let whole = try executor.makeSession().extend(ids)
        let stepwise = try executor.makeSession()
        var last: [Float] = []
        for id in ids { last = try stepwise.extend([id]) }
        // The sums are the same to the last bit, or codes would go the other way here and there.
        #expect(relativeError(last, whole) < 1e-4)
        let pieces = try executor.makeSession()
        _ = try pieces.extend(Array(ids.prefix(ids.count / 3)))
        _ = try pieces.extend(Array(ids[(ids.count / 3)..<ids.count - 1]))
        #expect(try relativeError(pieces.extend([ids[ids.count - 1]]), whole) < 1e-4)
    }

    @Test func aSessionGoesOnBehindRowsOfAnother() throws {
        let golden = try GoldenModel("gemma3-window")
        let executor = try Self.executor(golden)
        let ids = try #require(golden.sequences.max { $0.count < $1.count })
        let session = try executor.makeSession()
        _ = try session.extend(Array(ids.dropLast()))
        let rows = try golden.spec.layers.indices.map { try executor.cachedRows(of: session, layer: $0) }
        let taken = try executor.makeSession(behind: rows)
        #expect(taken.position == ids.count - 1)
        #expect(try taken.extend([ids[ids.count - 1]]) == session.extend([ids[ids.count - 1]]))
        #expect(throws: TransformerError.self) { try executor.makeSession(behind: Array(rows.dropLast())) }
        #expect(throws: TransformerError.self) { try executor.makeSession(behind: rows.map { Array($0.dropLast()) }) }
        #expect(throws: TransformerError.self) { try executor.cachedRows(of: executor.makeSession(), layer: 0) }
    }

    @Test func vectorsAreNotRounded() throws {
        let golden = try GoldenModel("qwen3-tied")
        let head = EncoderHead(pooling: .lastToken)
        let batch = TokenBatch([golden.sequences[0]])
        #expect(try Self.executor(golden).encode(batch, head: head) == golden.executor().encode(batch, head: head))
    }

    @Test func bytesOfAPosition() throws {
        var spec = try GoldenModel("qwen3-tied").spec
        (spec.keyValueHeads, spec.headDimension) = (8, 128)
        #expect(KeyValueCacheFormat.bfloat16.byteCount(spec) == 4096)
        #expect(KeyValueCacheFormat.float8.byteCount(spec) == 2048 + 16)
    }
}
