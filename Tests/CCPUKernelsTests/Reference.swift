import CCPUKernels
import Foundation

/// Every function of the header once more, in double precision and by its definition.
enum Reference {
    /// `x[T, K] * w[N, K]^T`, and the sums of the magnitudes: what rounding is measured against.
    static func linear(x: [Float], w: [Float], T: Int, N: Int, K: Int) -> (values: [Double], scale: [Double]) {
        var values = [Double](repeating: 0, count: T * N)
        var scale = [Double](repeating: 1e-30, count: T * N)
        let x = x.map(Double.init), w = w.map(Double.init)
        for t in 0..<T {
            for n in 0..<N {
                var sum = 0.0, magnitude = 1e-30
                for k in 0..<K {
                    let product = x[t * K + k] * w[n * K + k]
                    sum += product
                    magnitude += abs(product)
                }
                values[t * N + n] = sum
                scale[t * N + n] = magnitude
            }
        }
        return (values, scale)
    }

    static func activation(_ kind: apus_activation, _ x: Double) -> Double {
        switch kind {
        case APUS_SILU: x / (1 + exp(-x))
        // x / 2 (1 + tanh(u)), written without the cancellation that even a double would feel in the left tail.
        case APUS_GELU_TANH: x / (1 + exp(-2 * (2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
        default: 0.5 * x * erfc(-x / 2.0.squareRoot())
        }
    }

    /// One row of `x / sqrt(mean(x^2) + epsilon) * (w + offset)`.
    static func rmsNorm(_ x: [Float], w: [Float]?, offset: Double, epsilon: Double) -> [Double] {
        let mean = x.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(x.count)
        let scale = 1 / (mean + epsilon).squareRoot()
        return x.indices.map { index in
            let weight = w.map { Double($0[index]) + offset } ?? 1
            return Double(x[index]) * scale * weight
        }
    }

    struct Attention {
        var queryHeads = 1, keyValueHeads = 1, headDimension = 32
        var window = 0, bidirectional = false, scale = 0.2
        /// Queries and keys of each sequence.
        var lengths: [(queries: Int, keys: Int)] = []

        var queryOffsets: [Int] { lengths.reduce(into: [0]) { $0.append($0.last! + $1.queries) } }
        var keyOffsets: [Int] { lengths.reduce(into: [0]) { $0.append($0.last! + $1.keys) } }

        /// q is `[T, H, D]`, k and v `[L, G, D]`.
        func run(q: [Float], k: [Float], v: [Float]) -> [Double] {
            let (H, G, D) = (queryHeads, keyValueHeads, headDimension)
            let (queryOffsets, keyOffsets) = (self.queryOffsets, self.keyOffsets)
            var out = [Double](repeating: 0, count: queryOffsets.last! * H * D)
            let keys = k.map(Double.init), values = v.map(Double.init), queries = q.map { Double($0) * scale }
            for (s, length) in lengths.enumerated() {
                for i in 0..<length.queries {
                    let position = length.keys - length.queries + i
                    let seen = (0..<length.keys).filter { (bidirectional || $0 <= position) && (window == 0 || abs(position - $0) < window) }
                    for h in 0..<H {
                        let row = ((queryOffsets[s] + i) * H + h) * D
                        let rows = seen.map { ((keyOffsets[s] + $0) * G + h / (H / G)) * D }
                        var scores: [Double] = []
                        for base in rows {
                            var score = 0.0
                            for d in 0..<D { score += queries[row + d] * keys[base + d] }
                            scores.append(score)
                        }
                        let highest = scores.contains { $0.isNaN } ? .nan : scores.max() ?? 0
                        let weights = scores.map { exp($0 - highest) }
                        let total = weights.reduce(0, +)
                        for (weight, base) in zip(weights, rows) {
                            let share = weight / total
                            for d in 0..<D { out[row + d] += share * values[base + d] }
                        }
                    }
                }
            }
            return out
        }
    }
}
