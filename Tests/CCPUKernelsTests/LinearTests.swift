import CCPUKernels
import Testing

extension Kernels {
    /// `apus_linear` and `apus_gated_linear`, both paths (few rows and many), against double precision.
    @Suite struct Linear {
        struct Shape {
            var T: Int, N: Int, K: Int
        }

        static let shapes: [Shape] = [
            Shape(T: 1, N: 1, K: 1), Shape(T: 1, N: 33, K: 129), Shape(T: 2, N: 127, K: 513), Shape(T: 3, N: 16, K: 31), Shape(T: 5, N: 48, K: 256),
            Shape(T: 8, N: 31, K: 640), Shape(T: 9, N: 65, K: 127), Shape(T: 16, N: 129, K: 33), Shape(T: 17, N: 513, K: 31),
            Shape(T: 33, N: 1, K: 513),
            Shape(T: 31, N: 40, K: 1), Shape(T: 65, N: 33, K: 127), Shape(T: 459, N: 5, K: 3), Shape(T: 43, N: 129, K: 257),
            Shape(T: 1, N: 2, K: 1025),
        ]

        @Test(arguments: levels)
        func productsMatchDoublePrecision(level: String) throws {
            try withKernels(level) { pool in
                for (index, shape) in Self.shapes.enumerated() {
                    for type in weightTypes {
                        for accumulate in [false, true] {
                            try check(shape, type, accumulate: accumulate, seed: index, pool)
                        }
                    }
                }
            }
        }

        private func check(_ shape: Shape, _ type: apus_dtype, accumulate: Bool, seed: Int, _ pool: OpaquePointer) throws {
            let (T, N, K) = (shape.T, shape.N, shape.K)
            var values = Values(seed: seed)
            let x = values.floats(T * (K + 3)), w = Weights(values.floats(N * K), type: type)
            let before = values.floats(T * (N + 5))
            var y = before
            w.withPointer { apus_linear(pool, T, N, K, x, K + 3, $0, type, &y, N + 5, accumulate) }
            let rows = (0..<T).flatMap { x[($0 * (K + 3))..<($0 * (K + 3) + K)] }
            var (expected, scale) = Reference.linear(x: rows, w: w.values, T: T, N: N, K: K)
            var result: [Float] = []
            for t in 0..<T {
                result += y[(t * (N + 5))..<(t * (N + 5) + N)]
                #expect(
                    Array(y[(t * (N + 5) + N)..<((t + 1) * (N + 5))]) == Array(before[(t * (N + 5) + N)..<((t + 1) * (N + 5))]), "wrote past a row")
                if accumulate {
                    for n in 0..<N {
                        expected[t * N + n] += Double(before[t * (N + 5) + n])
                        scale[t * N + n] += Double(before[t * (N + 5) + n].magnitude)
                    }
                }
            }
            #expect(worstError(result, expected, against: scale) < 1e-6, "\(shape) type \(type.rawValue) accumulate \(accumulate)")
        }

        @Test(arguments: levels)
        func gatesMatchDoublePrecision(level: String) throws {
            try withKernels(level) { pool in
                for (index, shape) in Self.shapes.enumerated() {
                    for type in weightTypes {
                        let (T, N, K) = (shape.T, shape.N, shape.K)
                        var values = Values(seed: index + 100)
                        let x = values.floats(T * K, scale: 2)
                        let gate = Weights(values.floats(N * K), type: type), up = Weights(values.floats(N * K), type: type)
                        let (gates, gateScale) = Reference.linear(x: x, w: gate.values, T: T, N: N, K: K)
                        let (ups, upScale) = Reference.linear(x: x, w: up.values, T: T, N: N, K: K)
                        let scale = gates.indices.map { gateScale[$0] * upScale[$0] + 1e-3 }
                        for activation in [APUS_SILU, APUS_GELU_TANH, APUS_GELU_ERF] {
                            var y = [Float](repeating: .nan, count: T * N)
                            gate.withPointer { gate in
                                up.withPointer { up in apus_gated_linear(pool, T, N, K, x, K, gate, up, type, activation, &y, N) }
                            }
                            let expected = gates.indices.map { Reference.activation(activation, gates[$0]) * ups[$0] }
                            #expect(
                                worstError(y, expected, against: scale) < 4e-6, "\(shape) type \(type.rawValue) activation \(activation.rawValue)")
                        }
                    }
                }
            }
        }

        /// A row gives the same bits alone, among few and among many, whatever the number of threads.
        @Test(arguments: levels)
        func aRowDoesNotDependOnItsNeighbours(level: String) throws {
            let (T, N, K) = (43, 129, 643)
            var values = Values(seed: 7)
            let x = values.floats(T * K)
            for type in weightTypes {
                let w = Weights(values.floats(N * K), type: type), up = Weights(values.floats(N * K), type: type)
                var all: [Float] = [], gated: [Float] = []
                for threads in [1, 2, 5] {
                    try withKernels(level, threads: threads) { pool in
                        for rows in [T, 1, 2, 3, 7, 8, 9, 16, 17, 29] {
                            var y = [Float](repeating: 0, count: rows * N), g = y
                            w.withPointer { w in
                                apus_linear(pool, rows, N, K, x, K, w, type, &y, N, false)
                                up.withPointer { apus_gated_linear(pool, rows, N, K, x, K, w, $0, type, APUS_SILU, &g, N) }
                            }
                            if all.isEmpty { (all, gated) = (y, g) }
                            #expect(y == Array(all[..<(rows * N)]), "\(rows) rows, \(threads) threads, type \(type.rawValue)")
                            #expect(g == Array(gated[..<(rows * N)]), "gated: \(rows) rows, \(threads) threads, type \(type.rawValue)")
                        }
                    }
                }
            }
        }

        /// 19 rows of this length fit the pool's memory and are packed once, 21 are packed by every item.
        @Test(arguments: levels)
        func rowsAreTheSameWhoeverPacksThem(level: String) throws {
            let (N, K) = (33, 102_400)
            var values = Values(seed: 11)
            let x = values.floats(21 * K), w = Weights(values.floats(N * K), type: APUS_BF16)
            for threads in [1, 3] {
                try withKernels(level, threads: threads) { pool in
                    var few = [Float](repeating: 0, count: 19 * N), many = [Float](repeating: 0, count: 21 * N)
                    w.withPointer {
                        apus_linear(pool, 19, N, K, x, K, $0, APUS_BF16, &few, N, false)
                        apus_linear(pool, 21, N, K, x, K, $0, APUS_BF16, &many, N, false)
                    }
                    #expect(few == Array(many[..<(19 * N)]), "\(threads) threads")
                }
            }
        }

        @Test(arguments: levels)
        func emptyShapesAndNaN(level: String) throws {
            try withKernels(level) { pool in
                var y: [Float] = [1, 2, 3, 4]
                let x: [Float] = [1, 2], w: [Float] = [3, 4]
                apus_linear(pool, 0, 2, 2, x, 2, w, APUS_F32, &y, 2, false)
                apus_linear(pool, 2, 0, 2, x, 2, w, APUS_F32, &y, 2, false)
                apus_linear(pool, 2, 2, 0, x, 0, w, APUS_F32, &y, 2, true)
                #expect(y == [1, 2, 3, 4])
                apus_linear(pool, 1, 2, 0, x, 0, w, APUS_F32, &y, 2, false)
                #expect(y == [0, 0, 3, 4])

                for T in [1, 3, 40] {
                    let K = 70, N = 33
                    var values = Values(seed: T)
                    var x = values.floats(T * K)
                    x[(T - 1) * K + 69] = .nan
                    let w = values.floats(N * K)
                    var y = [Float](repeating: 0, count: T * N)
                    apus_linear(pool, T, N, K, x, K, w, APUS_F32, &y, N, false)
                    #expect(y[((T - 1) * N)...].allSatisfy { $0.isNaN })
                    #expect(y[..<((T - 1) * N)].allSatisfy { $0.isFinite })
                    apus_gated_linear(pool, T, N, K, x, K, w, w, APUS_F32, APUS_GELU_ERF, &y, N)
                    #expect(y[((T - 1) * N)...].allSatisfy { $0.isNaN })
                }
            }
        }

        /// Relative accuracy over the whole range, tails included; one product of one makes the gate any number.
        @Test(arguments: levels)
        func activationsAreAccurate(level: String) throws {
            try withKernels(level) { pool in
                let gates = stride(from: Float(-30), through: 30, by: 0.0137).map { $0 } + [0, 1e-6, -1e-6, 90, 1000]
                let ones = [Float](repeating: 1, count: gates.count)
                for (activation, bound) in [(APUS_SILU, 4e-7), (APUS_GELU_TANH, 2e-6), (APUS_GELU_ERF, 4e-6)] {
                    var y = [Float](repeating: 0, count: gates.count)
                    apus_gated_linear(pool, 1, gates.count, 1, [1], 1, gates, ones, APUS_F32, activation, &y, gates.count)
                    let expected = gates.map { Reference.activation(activation, Double($0)) }
                    // The tail of a GELU multiplies the rounding of its argument, which grows with its square.
                    let scale = zip(gates, expected).map {
                        max(abs($1), 1e-30) * (activation == APUS_SILU ? max(1, Double($0.magnitude) / 8) : max(1, Double($0 * $0) / 8))
                    }
                    #expect(worstError(y, expected, against: scale) < bound, "activation \(activation.rawValue)")
                }
            }
        }
    }
}
