#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Log-probabilities of one step under the model's own logits, among the tokens that may be chosen.
struct LogprobReport {
    private let logits: [Float]
    private let logSum: Double
    /// The likeliest tokens, likeliest first; fewer than asked for where fewer can be chosen.
    let top: [SampledToken.Candidate]

    init(logits: [Float], count: Int) {
        self.logits = logits
        let peak = Selection.largest(in: logits)
        var sum = 0.0
        for logit in logits { sum += Double(Exponential.value(of: logit - peak)) }
        let logSum = Double(peak) + log(sum)
        self.logSum = logSum
        top = Selection.largest(count, in: logits).filter { logits[$0] > -.infinity }
            .map { SampledToken.Candidate(id: $0, logprob: Float(Double(logits[$0]) - logSum)) }
    }

    func logprob(of id: Int) -> Float { Float(Double(logits[id]) - logSum) }
}
