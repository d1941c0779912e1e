/// The tokens that are still in the draw, in the order of their ids.
///
/// Nothing here sorts the vocabulary: bounds are found by counting, in time linear in the number of candidates. The set is kept and refilled for
/// every token, because fresh memory of this size costs more than the work in it.
package struct CandidateSet: Sendable {
    private struct Candidate {
        let id: Int32
        /// After temperature.
        let logit: Float
        /// Probability relative to the likeliest token's.
        let weight: Float
    }

    private var candidates: [Candidate] = []
    private var scaled: [Float] = []
    private var sums: [Double] = []

    package init() {}

    /// Takes all tokens whose logit is finite; with `topK` over 0 only those with that many largest logits, and all that equal the last of them.
    package mutating func fill(_ logits: [Float], temperature: Float, topK: Int) {
        scaled.removeAll(keepingCapacity: true)
        scaled.append(contentsOf: logits)
        for index in scaled.indices {
            // A tiny temperature must not turn the largest logits into infinities that are all alike.
            let value = scaled[index] / temperature
            scaled[index] = value > .greatestFiniteMagnitude ? .greatestFiniteMagnitude : value
        }
        let bound = topK > 0 && topK < scaled.count ? Selection.value(rank: topK, in: scaled) : -.infinity
        let peak = Selection.largest(in: scaled)
        candidates.removeAll(keepingCapacity: true)
        for (id, logit) in scaled.enumerated() where logit >= bound && logits[id] > -.infinity {
            candidates.append(Candidate(id: Int32(truncatingIfNeeded: id), logit: logit, weight: Exponential.value(of: logit - peak)))
        }
    }

    package var isEmpty: Bool { candidates.isEmpty }
    package var ids: [Int] { candidates.map { Int($0.id) } }

    /// Keeps the likeliest whose probabilities reach `mass` together, at least one.
    ///
    /// As transformers does, by what is left out: from the least likely on, lower ids first among equals, tokens go while their probabilities
    /// sum to no more than 1 − mass.
    package mutating func keepMass(_ mass: Float) {
        guard mass < 1, candidates.count > 1 else { return }
        let limit = (1 - Double(mass)) * totalWeight
        let (bound, equals) = candidates.count <= 1024 ? boundBySorting(limit) : boundByCounting(limit)
        var left = equals
        candidates.removeAll { candidate in
            if candidate.logit != bound { return candidate.logit < bound }
            left -= 1
            return left >= 0
        }
    }

    /// Drops those less than `share` times as likely as the likeliest.
    package mutating func drop(below share: Float) {
        guard share > 0 else { return }
        candidates.removeAll { $0.weight < share }
    }

    /// The token at which the cumulative probability, in the order of ids, passes `uniform`, which lies in [0, 1).
    package func pick(_ uniform: Double) -> Int {
        let target = uniform * totalWeight
        var sum = 0.0
        var last = 0
        for candidate in candidates where candidate.weight > 0 {
            sum += Double(candidate.weight)
            last = Int(candidate.id)
            if sum > target { return last }
        }
        // Rounding may leave the target at the very end.
        return last
    }

    private var totalWeight: Double {
        var sum = 0.0
        for candidate in candidates { sum += Double(candidate.weight) }
        return sum
    }

    /// Where dropping candidates from the smallest logit on stops so that their weights sum to no more than `limit`.
    ///
    /// All below the logit go, and of those that equal it the first `equals`; at least one candidate stays.
    private func boundBySorting(_ limit: Double) -> (logit: Float, equals: Int) {
        let ascending = candidates.sorted { $0.logit < $1.logit }
        var (sum, equals) = (0.0, 0)
        for (index, candidate) in ascending.enumerated() {
            if index == 0 || candidate.logit != ascending[index - 1].logit { equals = 0 }
            sum += Double(candidate.weight)
            if sum > limit || index == ascending.count - 1 { return (candidate.logit, equals) }
            equals += 1
        }
        return (-.infinity, 0)
    }

    /// The same for many: weights are summed by the upper half of the logits' bits, then, where the sum passes the limit, by the lower.
    private mutating func boundByCounting(_ limit: Double) -> (logit: Float, equals: Int) {
        var left = limit
        /// Takes sums from the lowest bucket up until one is more than is left; the last that holds candidates is never taken.
        func bucket(last: Int) -> UInt32 {
            for index in 0..<last {
                if sums[index] > left { return UInt32(truncatingIfNeeded: index) }
                left -= sums[index]
            }
            return UInt32(truncatingIfNeeded: last)
        }
        clearSums()
        var highest: UInt32 = 0
        for candidate in candidates {
            let key = Selection.key(of: candidate.logit)
            highest = max(highest, key)
            sums[Int(key >> 16)] += Double(candidate.weight)
        }
        let upper = bucket(last: Int(highest >> 16))
        clearSums()
        var highestHere: UInt32 = 0
        for candidate in candidates {
            let key = Selection.key(of: candidate.logit)
            guard key >> 16 == upper else { continue }
            highestHere = max(highestHere, key & 0xFFFF)
            sums[Int(key & 0xFFFF)] += Double(candidate.weight)
        }
        let key = upper << 16 | bucket(last: Int(highestHere))
        let bound = Selection.value(ofKey: key)
        // Equal logits have equal weights.
        var (equals, count) = (0, 0)
        for candidate in candidates where candidate.logit == bound {
            count += 1
            guard equals == count - 1, Double(candidate.weight) <= left else { continue }
            left -= Double(candidate.weight)
            equals += 1
        }
        return (bound, key == highest ? min(equals, count - 1) : equals)
    }

    private mutating func clearSums() {
        if sums.isEmpty {
            sums = [Double](repeating: 0, count: 1 << 16)
        } else {
            for index in sums.indices { sums[index] = 0 }
        }
    }
}
