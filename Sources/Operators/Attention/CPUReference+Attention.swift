public import Tensors

#if canImport(Musl)
    import Musl
#else
    import Glibc
#endif

extension CPUReference {
    /// ``OperatorContext/attention(_:_:_:lengths:mask:scale:path:into:)`` on the CPU, for every head size.
    public static func attention(
        _ q: HostTensor, _ k: HostTensor, _ v: HostTensor, lengths: SequenceLengths? = nil, mask: AttentionMask = .causal,
        scale: Float? = nil
    ) throws(OperatorError) -> HostTensor {
        let problem = try AttentionProblem(q, k, v, lengths: lengths, mask: mask, scale: scale, on: .host)
        return try tensor("attention", attention(problem, q, k, v), problem.dtype, problem.shape)
    }

    /// The result before it is rounded.
    static func attention(
        _ problem: AttentionProblem, _ q: HostTensor, _ k: HostTensor, _ v: HostTensor
    ) throws(OperatorError) -> [Double] {
        let q = try doubles("attention", q)
        let k = try doubles("attention", k)
        let v = try doubles("attention", v)
        let head = problem.head
        var result = [Double](repeating: 0, count: q.count)
        var start = (query: 0, key: 0)
        for (queries, keys) in zip(problem.lengths.queries, problem.lengths.keys) {
            for query in 0..<queries {
                let seen = problem.mask.keys(at: keys - queries + query, of: keys)
                for queryHead in 0..<problem.queryHeads {
                    let own = ((start.query + query) * problem.queryHeads + queryHead) * head
                    func place(_ key: Int) -> Int { ((start.key + key) * problem.keyHeads + queryHead / problem.group) * head }
                    var scores = seen.map { Double(problem.scale) * dot(q, own, k, place($0), head) }
                    softmax(&scores)
                    for (weight, key) in zip(scores, seen) {
                        let value = place(key)
                        for index in 0..<head { result[own + index] += weight * v[value + index] }
                    }
                }
            }
            start.query += queries
            start.key += keys
        }
        return result
    }

    /// Exponentials of the differences to the largest, made to sum to 1. A NaN makes all of them NaN.
    static func softmax(_ values: inout [Double]) {
        let largest = values.reduce(-Double.infinity) { $1.isNaN || $0.isNaN ? .nan : max($0, $1) }
        // A row of minus infinities has no largest to take away.
        let shift = largest == -.infinity ? 0 : largest
        var sum = 0.0
        for index in values.indices {
            values[index] = exp(values[index] - shift)
            sum += values[index]
        }
        for index in values.indices { values[index] /= sum }
    }
}
