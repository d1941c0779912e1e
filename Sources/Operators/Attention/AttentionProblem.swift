import Tensors

/// An attention whose arguments were checked.
package struct AttentionProblem {
    let dtype: DType
    /// Of q and of the result.
    let shape: [Int]
    let lengths: SequenceLengths
    let queryTokens: Int
    let keyTokens: Int
    let queryHeads: Int
    let keyHeads: Int
    let head: Int
    let mask: AttentionMask
    let scale: Float
    /// Elements from token to token.
    let queryStride: Int
    let keyStride: Int
    let valueStride: Int

    /// Query heads that share a key head.
    var group: Int { keyHeads == 0 ? 1 : queryHeads / keyHeads }

    /// q: [tokens, heads, D] or [batch, tokens, heads, D]; k and v likewise.
    package init(
        _ q: any TensorArgument, _ k: any TensorArgument, _ v: any TensorArgument, lengths: SequenceLengths?, mask: AttentionMask,
        scale: Float?, on place: TensorPlace
    ) throws(OperatorError) {
        let check = ArgumentCheck("attention", on: place)
        let (q, k, v) = (Operand("q", q), Operand("k", k), Operand("v", v))
        try check.places(q, k, v)
        try check.type(q, ArgumentCheck.floats)
        try check.sameType(k, as: q)
        try check.sameType(v, as: q)
        for operand in [q, k, v] { try check.rows(operand, trailing: 2) }
        let form = "[tokens, heads, head size] or [batch, tokens, heads, head size]"
        try check.rank(q, 3...4, form)
        let rank = q.tensor.shape.count
        try check.rank(k, rank...rank, "as many dimensions as q")
        try check.shape(v, k.tensor.shape, "as k")
        let sizes = (q: q.tensor.shape, k: k.tensor.shape)
        let head = sizes.q[rank - 1]
        try check.size(k, rank - 1, head, "the head size \(head) of q")
        let heads = (q: sizes.q[rank - 2], k: sizes.k[rank - 2])
        guard heads.q == heads.k || (heads.k > 0 && heads.q % heads.k == 0) else {
            throw .shape("attention", "k", expected: "a number of heads that divides the \(heads.q) of q", actual: sizes.k)
        }
        guard head > 0 || q.tensor.shape.contains(0) else {
            throw .shape("attention", "q", expected: form + " with a head size from 1 up", actual: sizes.q)
        }
        if rank == 4 { try check.size(k, 0, sizes.q[0], "the batch \(sizes.q[0]) of q") }
        let tokens = (q: StridedLayout.count(sizes.q.dropLast(2)), k: StridedLayout.count(sizes.k.dropLast(2)))
        try check.fits(("the number of query tokens", tokens.q), ("the number of key tokens", tokens.k))
        let counts = (q: tokens.q ?? 0, k: tokens.k ?? 0)
        if rank == 4, let lengths {
            throw .argument(
                "attention", "the lengths", expected: "none beside a batch dimension", actual: "\(lengths.queries.count) sequences")
        }
        let all =
            rank == 4
            ? SequenceLengths(
                queries: [Int](repeating: sizes.q[1], count: sizes.q[0]), keys: [Int](repeating: sizes.k[1], count: sizes.k[0]))
            : lengths ?? SequenceLengths(queries: [counts.q], keys: [counts.k])
        try all.check(queryTokens: counts.q, keyTokens: counts.k)
        try mask.check()
        if let scale, !scale.isFinite {
            throw .argument("attention", "the scale", expected: "a finite number", actual: "\(scale)")
        }
        dtype = q.tensor.dtype
        shape = sizes.q
        self.lengths = all
        queryTokens = counts.q
        keyTokens = counts.k
        queryHeads = heads.q
        keyHeads = heads.k
        self.head = head
        self.mask = mask
        self.scale = scale ?? 1 / Float(max(1, head)).squareRoot()
        queryStride = StridedLayout.joinLeading(q.tensor, trailing: 2)?.stride ?? heads.q * head
        keyStride = StridedLayout.joinLeading(k.tensor, trailing: 2)?.stride ?? heads.k * head
        valueStride = StridedLayout.joinLeading(v.tensor, trailing: 2)?.stride ?? heads.k * head
    }

    var isEmpty: Bool { shape.contains(0) }
}
