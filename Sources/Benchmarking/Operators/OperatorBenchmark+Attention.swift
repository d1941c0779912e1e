import CUDA
import Operators
import Tensors

extension OperatorBenchmark {
    /// Causal attention over 16,384 tokens in sequences of one length: Gemma3 270m's heads, Qwen3 0.6B's, and heads of 64.
    static var attentions: [Case] {
        var cases: [Case] = []
        for (head, heads, keyHeads) in [(256, 4, 1), (128, 16, 8)] {
            for length in [128, 512, 1024, 4096, 16384] {
                cases.append(attention(head: head, heads: heads, keyHeads: keyHeads, batch: 16384 / length, length: length))
            }
        }
        return cases + [
            attention(head: 64, heads: 16, keyHeads: 16, batch: 4, length: 4096),
            attention(head: 256, heads: 4, keyHeads: 1, batch: 16, length: 4096, window: 512),
        ]
    }

    /// Only pairs of a query and a key that it sees count as operations.
    private static func attention(head: Int, heads: Int, keyHeads: Int, batch: Int, length: Int, window: Int? = nil) -> Case {
        let tokens = batch * length
        let seen = (0..<length).reduce(0) { $0 + min($1 + 1, window ?? length) }
        let work = Work(
            operations: 4 * Double(head) * Double(heads) * Double(batch) * Double(seen),
            bytes: Double(2 * tokens * head * (2 * heads + 2 * keyHeads)))
        let mask: AttentionMask = window.map { .window($0) } ?? .causal
        let title = "attention \(window.map { "window \($0)" } ?? "causal") D \(head), heads \(heads)/\(keyHeads), \(batch) x \(length)"
        return Case("attention", title, work) { bench in
            let sets = bench.suite.inputSets(byteCount: Int(work.bytes))
            func tensors(_ heads: Int) throws -> [DeviceTensor] {
                try (0..<sets).map { _ in try bench.inputs.tensor(.bfloat16, [batch, length, heads, head]) }
            }
            let (q, k, v) = (try tensors(heads), try tensors(keyHeads), try tensors(keyHeads))
            let o = try (0..<sets).map { _ in try bench.context.tensor(.bfloat16, [batch, length, heads, head]) }
            let call: (Int) throws -> Void = { index in
                let set = index % sets
                _ = try bench.context.attention(q[set], k[set], v[set], mask: mask, into: o[set])
            }
            let check: () throws -> BenchmarkCheck = {
                try bench.poison(o[0])
                try call(0)
                // The last queries of a sequence with all its keys, and the first with theirs.
                let count = min(length, 8)
                var comparisons: [Comparison] = []
                for (sequence, queries, keys) in [(batch - 1, length - count..<length, 0..<length), (0, 0..<count, 0..<count)] {
                    func part(_ tensor: DeviceTensor, _ range: Range<Int>) throws -> HostTensor {
                        try bench.download(tensor.slice(0, sequence..<sequence + 1).slice(1, range))
                    }
                    let expected = try CPUReference.attention(part(q[0], queries), part(k[0], keys), part(v[0], keys), mask: mask)
                    comparisons.append(try Comparison(part(o[0], queries), expected, Tolerance(absolute: 8e-3, relative: 1e-2)))
                }
                return judge(comparisons)
            }
            return [BenchmarkSuite.Entry("apus", check: check, run: call)]
        }
    }
}
