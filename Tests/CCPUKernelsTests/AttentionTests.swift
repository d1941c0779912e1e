import CCPUKernels
import Testing

extension Kernels {
    @Suite struct Attention {
        static let cases: [Reference.Attention] = {
            var cases: [Reference.Attention] = []
            func add(_ H: Int, _ G: Int, _ D: Int, window: Int = 0, bidirectional: Bool = false, _ lengths: [(queries: Int, keys: Int)]) {
                cases.append(
                    Reference.Attention(
                        queryHeads: H, keyValueHeads: G, headDimension: D, window: window, bidirectional: bidirectional, scale: 0.3, lengths: lengths)
                )
            }
            add(1, 1, 32, [(1, 1)])
            add(2, 2, 33, [(31, 31), (0, 0), (1, 129), (7, 33)])
            add(8, 1, 64, [(33, 33), (1, 513)])
            add(3, 1, 127, [(40, 127)])
            add(16, 8, 128, [(1, 300)])
            add(4, 1, 256, [(65, 65), (2, 600)])
            add(4, 2, 257, [(9, 40)])
            add(2, 1, 1, [(17, 300)])
            add(4, 1, 64, window: 16, [(129, 129), (1, 513), (3, 5)])
            add(4, 2, 32, window: 1, [(33, 33)])
            add(2, 1, 40, window: 300, [(513, 513)])
            add(4, 1, 64, window: 16, bidirectional: true, [(129, 129), (31, 31), (1, 1)])
            add(2, 2, 96, bidirectional: true, [(127, 127), (300, 300)])
            add(5, 5, 31, window: 2, bidirectional: true, [(300, 300)])
            add(6, 2, 520, [(5, 260)])
            add(120, 1, 8, [(3, 9)])
            return cases
        }()

        /// Runs a case with rows that are further apart than they need to be.
        static func run(_ problem: Reference.Attention, q: [Float], k: [Float], v: [Float], pool: OpaquePointer) -> [Float] {
            let (H, G, D) = (problem.queryHeads, problem.keyValueHeads, problem.headDimension)
            let queryOffsets = problem.queryOffsets, keyOffsets = problem.keyOffsets
            let stride = H * D + 3
            var out = [Float](repeating: .nan, count: queryOffsets.last! * stride)
            q.withUnsafeBufferPointer { q in
                k.withUnsafeBufferPointer { k in
                    v.withUnsafeBufferPointer { v in
                        out.withUnsafeMutableBufferPointer { out in
                            queryOffsets.withUnsafeBufferPointer { queryOffsets in
                                keyOffsets.withUnsafeBufferPointer { keyOffsets in
                                    var description = apus_attention_problem(
                                        q: q.baseAddress, query_stride: H * D, k: k.baseAddress, v: v.baseAddress, key_stride: G * D,
                                        key_head_stride: D,
                                        out: out.baseAddress, out_stride: stride, sequences: problem.lengths.count,
                                        query_offsets: queryOffsets.baseAddress,
                                        key_offsets: keyOffsets.baseAddress, query_heads: H, key_value_heads: G, head_dimension: D,
                                        window: problem.window,
                                        bidirectional: problem.bidirectional, scale: Float(problem.scale))
                                    apus_attention(pool, &description)
                                }
                            }
                        }
                    }
                }
            }
            return (0..<queryOffsets.last!).flatMap { out[($0 * stride)..<($0 * stride + H * D)] }
        }

        static func inputs(_ problem: Reference.Attention, seed: Int) -> (q: [Float], k: [Float], v: [Float]) {
            var values = Values(seed: seed)
            let (H, G, D) = (problem.queryHeads, problem.keyValueHeads, problem.headDimension)
            let keys = problem.keyOffsets.last! * G * D
            return (values.floats(problem.queryOffsets.last! * H * D, scale: 2), values.floats(keys, scale: 2), values.floats(keys))
        }

        /// The slow part, once for all levels.
        static let expectations: [[Double]] = cases.enumerated().map { index, problem in
            let (q, k, v) = inputs(problem, seed: index)
            return problem.run(q: q, k: k, v: v)
        }

        @Test(arguments: levels)
        func matchesDoublePrecision(level: String) throws {
            for (index, problem) in Self.cases.enumerated() {
                let (q, k, v) = Self.inputs(problem, seed: index)
                let expected = Self.expectations[index]
                for threads in [1, 7] {
                    try withKernels(level, threads: threads) { pool in
                        let result = Self.run(problem, q: q, k: k, v: v, pool: pool)
                        // Scores reach some tens, whose rounding the exponential passes on.
                        #expect(worstError(result, expected, against: expected.map { _ in 1 }) < 1.2e-5, "case \(index), \(threads) threads")
                    }
                }
            }
        }

        /// The last query gives the same bits alone (decoding, keys split among threads) as at the end of a whole text.
        @Test(arguments: levels)
        func aQueryDoesNotDependOnItsNeighboursOrThreads(level: String) throws {
            for (window, keys) in [(0, 530), (100, 530), (0, 33)] {
                var problem = Reference.Attention(queryHeads: 4, keyValueHeads: 1, headDimension: 72, window: window, lengths: [(keys, keys)])
                let (q, k, v) = Self.inputs(problem, seed: keys)
                var whole: [Float] = []
                for threads in [1, 7] {
                    try withKernels(level, threads: threads) { pool in
                        problem.lengths = [(keys, keys)]
                        let result = Self.run(problem, q: q, k: k, v: v, pool: pool)
                        if whole.isEmpty { whole = result }
                        #expect(result == whole)
                        for last in [1, 2, 30] {
                            problem.lengths = [(last, keys)]
                            let part = Self.run(problem, q: Array(q.suffix(last * 4 * 72)), k: k, v: v, pool: pool)
                            #expect(part == Array(whole.suffix(last * 4 * 72)), "\(last) of \(keys), window \(window), \(threads) threads")
                        }
                    }
                }
            }
        }

        /// What a query does not see cannot reach it; what it sees does.
        @Test(arguments: levels)
        func notANumberReachesOnlyThoseWhoSeeIt(level: String) throws {
            try withKernels(level) { pool in
                for poison in [Float.nan, .infinity] {
                    var problem = Reference.Attention(
                        queryHeads: 4, keyValueHeads: 2, headDimension: 33, window: 50, lengths: [(300, 300), (20, 20)])
                    var (q, k, v) = Self.inputs(problem, seed: 3)
                    for d in 0..<66 { v[100 * 66 + d] = poison }
                    let result = Self.run(problem, q: q, k: k, v: v, pool: pool)
                    for t in 0..<320 {
                        let row = result[(t * 132)..<((t + 1) * 132)]
                        #expect(row.allSatisfy { $0.isFinite == !(100..<150).contains(t) }, "value of key 100, query \(t)")
                    }
                    v = Self.inputs(problem, seed: 3).v
                    for d in 0..<66 { k[100 * 66 + d] = .nan }
                    let fromKeys = Self.run(problem, q: q, k: k, v: v, pool: pool)
                    for t in 0..<320 {
                        #expect(fromKeys[(t * 132)..<((t + 1) * 132)].allSatisfy { $0.isNaN == (100..<150).contains(t) }, "key 100, query \(t)")
                    }
                    problem.window = 0
                    q[0] = .nan
                    #expect(Self.run(problem, q: q, k: k, v: v, pool: pool)[0].isNaN)
                }
            }
        }

        /// Scores far apart neither overflow nor vanish.
        @Test(arguments: levels)
        func largeScores(level: String) throws {
            try withKernels(level) { pool in
                var problem = Reference.Attention(queryHeads: 1, keyValueHeads: 1, headDimension: 32, lengths: [(300, 300)])
                problem.scale = 60
                let (q, k, v) = Self.inputs(problem, seed: 11)
                let expected = problem.run(q: q, k: k, v: v)
                // Scores of several thousand round to a few ten-thousandths.
                #expect(worstError(Self.run(problem, q: q, k: k, v: v, pool: pool), expected, against: expected.map { _ in 1 }) < 5e-3)
            }
        }
    }
}
