import CCPUKernels
import Testing

extension Kernels {
    /// `apus_pool_allow_rounding`: bfloat16 weights with many rows, against double precision over rounded inputs.
    @Suite struct Rounding {
        /// The nearest bfloat16, ties to even.
        static func rounded(_ x: Float) -> Float {
            let bits = x.bitPattern
            return Float(bitPattern: (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
        }

        /// Only one instruction set has the products, so elsewhere this says so and the exact ones are tested once more.
        static func withRounding(_ body: (OpaquePointer, Bool) throws -> Void) throws {
            for threads in [1, 2, 5] {
                let pool = try #require(apus_pool_create(threads))
                defer { apus_pool_destroy(pool) }
                try body(pool, apus_pool_allow_rounding(pool, true))
            }
        }

        @Test func productsAreThoseOfRoundedRows() throws {
            try Self.withRounding { pool, rounds in
                for (index, shape) in Linear.shapes.enumerated() {
                    let (T, N, K) = (shape.T + 16, shape.N, shape.K)
                    var values = Values(seed: index)
                    let x = values.floats(T * K, scale: 2), w = Weights(values.floats(N * K), type: APUS_BF16)
                    let up = Weights(values.floats(N * K), type: APUS_BF16)
                    let before = values.floats(T * N)
                    var y = before
                    var gated = before
                    w.withPointer { w in
                        apus_linear(pool, T, N, K, x, K, w, APUS_BF16, &y, N, true)
                        up.withPointer { apus_gated_linear(pool, T, N, K, x, K, w, $0, APUS_BF16, APUS_SILU, &gated, N) }
                    }
                    let seen = rounds ? x.map(Self.rounded) : x
                    let (gates, gateScale) = Reference.linear(x: seen, w: w.values, T: T, N: N, K: K)
                    let (ups, upScale) = Reference.linear(x: seen, w: up.values, T: T, N: N, K: K)
                    let sums = zip(gates, before).map { $0 + Double($1) }
                    #expect(worstError(y, sums, against: gateScale.map { $0 + 1 }) < 2e-6, "\(shape)")
                    let products = zip(gates, ups).map { Reference.activation(APUS_SILU, $0) * $1 }
                    #expect(worstError(gated, products, against: zip(gateScale, upScale).map { $0 * $1 + 1e-3 }) < 8e-6, "\(shape)")
                }
            }
        }

        @Test func aRowDoesNotDependOnItsNeighbours() throws {
            let (T, N, K) = (71, 129, 643)
            var values = Values(seed: 9)
            let x = values.floats(T * K), w = Weights(values.floats(N * K), type: APUS_BF16)
            var all: [Float] = []
            try Self.withRounding { pool, _ in
                for rows in [T, 17, 29, 43] {
                    var y = [Float](repeating: 0, count: rows * N)
                    w.withPointer { apus_linear(pool, rows, N, K, x, K, $0, APUS_BF16, &y, N, false) }
                    if all.isEmpty { all = y }
                    #expect(y == Array(all[..<(rows * N)]), "\(rows) rows")
                }
            }
        }

        /// Few rows and other types of weights stay exact, and so does everything once rounding is no longer allowed.
        @Test func exactWhereItIsNotMeant() throws {
            let (N, K) = (40, 300)
            var values = Values(seed: 10)
            let x = values.floats(20 * K), numbers = values.floats(N * K)
            for (type, T) in [(APUS_BF16, 16), (APUS_F32, 20), (APUS_F16, 20)] {
                let w = Weights(numbers, type: type)
                let pool = try #require(apus_pool_create(2))
                defer { apus_pool_destroy(pool) }
                var exact = [Float](repeating: 0, count: T * N), allowed = exact, after = exact
                w.withPointer { w in
                    apus_linear(pool, T, N, K, x, K, w, type, &exact, N, false)
                    apus_pool_allow_rounding(pool, true)
                    apus_linear(pool, T, N, K, x, K, w, type, &allowed, N, false)
                    #expect(!apus_pool_allow_rounding(pool, false))
                    apus_linear(pool, T, N, K, x, K, w, type, &after, N, false)
                }
                #expect(exact == allowed)
                #expect(exact == after)
            }
        }

        @Test func notANumberStaysInItsRow() throws {
            try Self.withRounding { pool, _ in
                let (T, N, K) = (33, 31, 65)
                var values = Values(seed: 12)
                var x = values.floats(T * K)
                x[5 * K + 64] = .nan
                x[6 * K] = .infinity
                let w = Weights(values.floats(N * K), type: APUS_BF16)
                var y = [Float](repeating: 0, count: T * N)
                w.withPointer { apus_linear(pool, T, N, K, x, K, $0, APUS_BF16, &y, N, false) }
                for t in 0..<T {
                    let row = y[(t * N)..<((t + 1) * N)]
                    #expect(row.allSatisfy { t == 5 ? $0.isNaN : t == 6 ? !$0.isFinite : $0.isFinite }, "row \(t)")
                }
            }
        }
    }
}
