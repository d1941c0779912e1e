import Testing
import Transformer

@Suite struct SessionTests {
    @Test(arguments: GoldenModel.decoders) func prefillEqualsSingleSteps(name: String) throws {
        let golden = try GoldenModel(name)
        let executor = try golden.executor()
        let ids = golden.sequences[golden.sequences.count - 1] + golden.sequences[0]
        let stepwise = try executor.makeSession()
        var last: [Float] = []
        for id in ids { last = try stepwise.extend([id]) }
        let whole = try executor.makeSession().extend(ids)
        #expect(relativeError(whole, last) < 1e-4)

        let halves = try executor.makeSession()
        _ = try halves.extend(Array(ids.prefix(ids.count / 2)))
        #expect(try relativeError(halves.extend(Array(ids.suffix(ids.count - ids.count / 2))), last) < 1e-4)
        #expect(halves.position == ids.count)
    }

    @Test func longPromptsCrossBlocks() throws {
        let golden = try GoldenModel("gemma3-window") { $0.maximumPositions = 2000 }
        let executor = try golden.executor()
        let ids = (0..<1100).map { Int32($0 * 37 % 131) }
        let whole = try executor.makeSession().extend(ids)
        let split = try executor.makeSession()
        _ = try split.extend(Array(ids.prefix(511)))
        _ = try split.extend(Array(ids[511..<1099]))
        #expect(try relativeError(split.extend([ids[1099]]), whole) < 1e-4)
    }

    @Test func rewindForgetsTheRest() throws {
        let golden = try GoldenModel("qwen3-tied")
        let executor = try golden.executor()
        let ids = golden.sequences[1]
        let expected = try executor.makeSession().extend(ids)
        let session = try executor.makeSession()
        _ = try session.extend(Array(ids.prefix(20)) + [5, 6, 7])
        session.rewind(to: 20)
        #expect(session.position == 20)
        #expect(try relativeError(session.extend(Array(ids.dropFirst(20))), expected) < 1e-5)
    }

    @Test func resultsDoNotDependOnThreads() throws {
        let golden = try GoldenModel("gemma3-window")
        let one = try golden.executor(threads: 1).makeSession().extend(golden.sequences[1])
        let three = try golden.executor(threads: 3).makeSession().extend(golden.sequences[1])
        #expect(one == three)
    }

    @Test func refusesWhatTheModelCannotTake() throws {
        let golden = try GoldenModel("qwen3-tied") { $0.maximumPositions = 8 }
        let session = try golden.executor().makeSession()
        func code(_ ids: [Int32]) -> TransformerError.Code? {
            do {
                _ = try session.extend(ids)
                return nil
            } catch { return (error as? TransformerError)?.code }
        }
        #expect(code([]) == .invalidToken)
        #expect(code([-1]) == .invalidToken)
        #expect(code([131]) == .invalidToken)
        #expect(code(Array(repeating: 1, count: 9)) == .contextExceeded)
        #expect(session.position == 0)
        #expect(code(Array(repeating: 1, count: 8)) == nil)
        #expect(code([1]) == .contextExceeded)
        #expect(session.position == 8)
    }

    @Test func anEncoderWithoutHeadRefusesText() throws {
        let golden = try GoldenModel("gemma3-bidirectional")
        let error = #expect(throws: TransformerError.self) { try golden.executor().makeSession().extend([1]) }
        #expect(error?.code == .noHead)
    }

    @Test func theCacheHoldsWhatItMust() throws {
        let golden = try GoldenModel("qwen3-tied")
        let session = try golden.executor().makeSession()
        #expect(session.cacheByteCount == 0)
        _ = try session.extend([1, 2, 3])
        // 256 positions, three layers, keys and values of two heads of 16 in fp32.
        #expect(session.cacheByteCount == 256 * 3 * 2 * 2 * 16 * 4)
    }
}
