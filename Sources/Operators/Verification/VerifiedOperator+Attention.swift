import Tensors

extension VerifiedOperator {
    /// Values are normal; the weights are rounded to the operands' type before they meet them.
    private static func tolerance(_ dtype: DType) -> Tolerance {
        dtype == .bfloat16 ? Tolerance(absolute: 8e-3, relative: 1e-2) : Tolerance(absolute: 1e-3, relative: 2e-3)
    }

    static let attention = VerifiedOperator("attention", paths: [.hopper, .generic]) { (random, path) throws(OperatorError) in
        let dtype = random.float16Type()
        let head = random.choose([64, 128, 256])
        let keyHeads = random.integer(1...3)
        let group = random.choose([1, 1, 2, 3, 4, 5, 8])
        var mask: AttentionMask =
            switch random.integer(0...3) {
            case 0: .full
            case 1: .window(random.choose([1, 2, 31, 64, 100, 512]))
            case 2: .around(left: random.integer(0...80), right: random.integer(0...80))
            default: .causal
            }
        let lengths = lengths(&random, heads: keyHeads * group)
        let (queries, keys) = (lengths.queries.reduce(0, +), lengths.keys.reduce(0, +))
        var q = try random.tensor([queries, keyHeads * group, head], dtype)
        let k = try random.tensor([keys, keyHeads, head], dtype)
        var v = try random.tensor([keys, keyHeads, head], dtype)
        if random.plantsNaN() { q = try q.planting(.nan, at: random.integer(0...queries * keyHeads * group * head - 1)) }
        if random.plantsNaN() {
            // Among the values of keys that some queries do not see it may reach those too, by 0 * NaN, but no other sequence.
            mask = .full
            v = try v.planting(.nan, at: random.integer(0...keys * keyHeads * head - 1))
        }
        let (queryTensor, valueTensor, finalMask) = (q, v, mask)
        let scale: Float? = random.chance(0.3) ? 0.1 : nil
        let problem = try AttentionProblem(q, k, v, lengths: lengths, mask: mask, scale: scale, on: .host)
        let expected = try CPUReference.attention(problem, q, k, v)
        let isFused = random.chance(0.4)
        return VerificationCase(
            description:
                "\(dtype), D \(head), heads \(keyHeads * group) / \(keyHeads), queries \(lengths.queries), keys \(lengths.keys), \(mask), fused \(isFused)",
            expected: [.init("o", expected, tolerance(dtype))]
        ) { (context) throws(OperatorError) in
            func device(_ tensor: HostTensor) throws(OperatorError) -> DeviceTensor {
                guard isFused else { return try context.upload(tensor) }
                let flat = try OperatorError.wrapFile("random") { () throws(TensorError) in
                    try HostTensor(dtype: tensor.dtype, shape: [tensor.shape[0], tensor.shape[1] * head], data: tensor.data)
                }
                return try context.uploadSlice(flat, before: head, after: 2 * head).split(1, into: (tensor.shape[1], head))
            }
            let o = try context.attention(
                device(queryTensor), device(k), device(valueTensor), lengths: lengths, mask: finalMask, scale: scale, path: path)
            return [try context.download(o)]
        }
    }

    /// One long sequence now and then, some of a tile or two, otherwise some of the lengths around the sizes of tiles.
    private static func lengths(_ random: inout SeededRandom, heads: Int) -> SequenceLengths {
        if heads <= 4, random.chance(0.05) { return SequenceLengths([random.choose([2500, 4096])]) }
        // All of them short, and few that end in the first half of a pair of tiles.
        if random.chance(0.2) {
            let queries = (0..<random.integer(1...9)).map { _ in random.choose([65, 96, 100, 127, 128, 128, 128]) }
            return SequenceLengths(queries: queries, keys: queries.map { random.chance(0.8) ? $0 : max(1, $0 - random.integer(0...70)) })
        }
        let sizes = [1, 2, 31, 32, 33, 63, 65, 127, 128, 129, 300, 511, 512, 513]
        let count = random.integer(1...4)
        var queries: [Int] = []
        for _ in 0..<count { queries.append(random.choose(heads > 8 ? sizes.filter { $0 < 300 } : sizes)) }
        guard random.chance(0.3) else { return SequenceLengths(queries) }
        // Keys of a cache ahead of the queries, and now and then fewer keys than queries: the first queries see none.
        return SequenceLengths(queries: queries, keys: queries.map { max(1, $0 + random.integer(-20...200)) })
    }
}
