import Foundation

/// The tokens that are still in the draw, with their logits after temperature.
struct CandidateSet {
    private struct Candidate {
        let id: Int
        let logit: Float
    }

    /// In the order of their ids.
    private let candidates: [Candidate]
    private let peak: Float

    /// All tokens whose logit is finite.
    init(logits: [Float], temperature: Float) {
        var candidates: [Candidate] = []
        candidates.reserveCapacity(logits.count)
        var peak = -Float.infinity
        for (id, logit) in logits.enumerated() where logit > -.infinity {
            // A tiny temperature must not turn the largest logits into infinities that are all alike.
            let scaled = max(-.greatestFiniteMagnitude, min(logit / temperature, .greatestFiniteMagnitude))
            candidates.append(Candidate(id: id, logit: scaled))
            peak = max(peak, scaled)
        }
        self.init(candidates, peak: peak)
    }

    private init(_ candidates: [Candidate], peak: Float) {
        self.candidates = candidates
        self.peak = peak
    }

    var isEmpty: Bool { candidates.isEmpty }

    /// Those with the `count` largest logits, and all that equal the last of them.
    func keepingTop(_ count: Int) -> CandidateSet {
        guard count > 0, count < candidates.count else { return self }
        let bound = Self.largestValue(rank: count, of: candidates.lazy.map(\.logit))
        return CandidateSet(candidates.filter { $0.logit >= bound }, peak: peak)
    }

    /// The likeliest whose probabilities reach `mass` together.
    ///
    /// As transformers does, by what is left out: from the least likely on, tokens go while their probabilities sum to no more than 1 − mass.
    func keepingMass(_ mass: Float) -> CandidateSet {
        guard mass < 1, candidates.count > 1 else { return self }
        let weights = candidates.map { weight($0) }
        let total = weights.reduce(0, +)
        // Only tokens within some distance of the likeliest can matter; the distance grows until they reach the mass.
        var reach: Float = 8
        while true {
            let near = candidates.indices.filter { candidates[$0].logit >= peak - reach }
            let nearSum = near.reduce(0) { $0 + weights[$1] }
            guard nearSum >= Double(mass) * total || near.count == candidates.count || reach > 1e30 else {
                reach *= 2
                continue
            }
            let ascending = near.sorted { (candidates[$0].logit, $1) < (candidates[$1].logit, $0) }
            var dropped = total - nearSum
            var kept = near.count
            for index in ascending.dropLast() {
                dropped += weights[index]
                if dropped > (1 - Double(mass)) * total { break }
                kept -= 1
            }
            let survivors = ascending.suffix(kept).sorted()
            return CandidateSet(survivors.map { candidates[$0] }, peak: peak)
        }
    }

    /// Those at least `share` times as likely as the likeliest.
    func dropping(below share: Float) -> CandidateSet {
        guard share > 0 else { return self }
        return CandidateSet(candidates.filter { weight($0) >= Double(share) }, peak: peak)
    }

    /// The token at which the cumulative probability, in the order of ids, passes `uniform`.
    func pick(_ uniform: Double) -> Int {
        let weights = candidates.map { weight($0) }
        let target = uniform * weights.reduce(0, +)
        var sum = 0.0
        for (index, weight) in weights.enumerated() {
            sum += weight
            if sum > target { return candidates[index].id }
        }
        // Rounding may leave the target at the very end.
        return candidates[weights.lastIndex { $0 > 0 } ?? 0].id
    }

    /// Probability relative to the likeliest token's.
    private func weight(_ candidate: Candidate) -> Double { Double(exp(candidate.logit - peak)) }

    /// Indices of the `count` largest values, largest first, lower index first among equals.
    static func largest(_ count: Int, of values: [Float]) -> [Int] {
        guard count > 0 else { return [] }
        let bound = largestValue(rank: min(count, values.count), of: values)
        let near = values.indices.filter { values[$0] >= bound }
        return Array(near.sorted { (values[$1], $0) < (values[$0], $1) }.prefix(count))
    }

    /// The value of 1-based `rank` in descending order, by a heap of that many.
    private static func largestValue(rank: Int, of values: some Sequence<Float>) -> Float {
        // A min-heap in an array: its first entry is the smallest of the largest so far.
        var heap: [Float] = []
        heap.reserveCapacity(rank)
        for value in values {
            if heap.count < rank {
                heap.append(value)
                var child = heap.count - 1
                while child > 0, heap[child] < heap[(child - 1) / 2] {
                    heap.swapAt(child, (child - 1) / 2)
                    child = (child - 1) / 2
                }
            } else if let smallest = heap.first, value > smallest {
                heap[0] = value
                var parent = 0
                while true {
                    let left = 2 * parent + 1
                    guard left < heap.count else { break }
                    let child = left + 1 < heap.count && heap[left + 1] < heap[left] ? left + 1 : left
                    guard heap[child] < heap[parent] else { break }
                    heap.swapAt(child, parent)
                    parent = child
                }
            }
        }
        return heap.first ?? -.infinity
    }
}
