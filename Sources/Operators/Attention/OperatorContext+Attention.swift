import CUDA
import Tensors

extension OperatorContext {
    /// softmax(scale * Q K^T + mask) V, in one pass without the matrix of scores.
    ///
    /// q: [tokens, heads, D] with the sequences one after the other and nothing padded, or [batch, tokens, heads, D] with equal lengths; k and v: the
    /// same with a number of heads that divides q's (grouped queries: query head h reads key head h / group). Tokens may lie apart, as in slices of a
    /// fused projection. The result has q's shape and type. A query that sees no key gets zeros. A NaN or an infinity in v reaches
    /// every query that sees its key, may reach others of its sequence (their weight is 0, and 0 * NaN is NaN), and no other sequence. Softmax in
    /// fp32; the weights are rounded to the operands' type before they meet v.
    ///
    /// Both paths: bf16 or fp16, D = 64, 128 or 256, tokens a multiple of 16 bytes apart, at most 64 query heads to a key head. The list of tiles is
    /// made on the CPU for each new set of lengths and kept; making it uploads some kilobytes, which a stream under capture refuses: run once before.
    /// Source: Dao et al., arXiv 2205.14135 and 2407.08608. Roof: 4 D operations for each visible pair of query and key, at 989 TFLOP/s on an H200.
    /// - Parameters:
    ///   - lengths: The sequences; one over all tokens when nil.
    ///   - scale: 1 / sqrt(D) when nil.
    ///   - isInvariant: Bit for bit the same result for a sequence whatever the lengths of the others: a launch for each class of lengths.
    ///   - output: Where the result goes, contiguous or laid out as q; must not overlap the operands.
    public func attention(
        _ q: DeviceTensor, _ k: DeviceTensor, _ v: DeviceTensor, lengths: SequenceLengths? = nil, mask: AttentionMask = .causal,
        scale: Float? = nil, path: KernelPath = .automatic, isInvariant: Bool = false, into output: DeviceTensor? = nil
    ) throws(OperatorError) -> DeviceTensor {
        let problem = try AttentionProblem(q, k, v, lengths: lengths, mask: mask, scale: scale, on: place)
        try check(path, "attention")
        let result = try self.output("attention", output, problem.dtype, problem.shape, like: q)
        guard !problem.isEmpty else { return result }
        if problem.keyTokens == 0 {
            guard result.isContiguous else { throw .unavailable("attention", "without keys the result must be contiguous") }
            try OperatorError.wrap("attention") { () throws(CUDAError) in try stream.fill(result.region) }
            return result
        }
        let outputStride = result.isContiguous ? problem.queryHeads * problem.head : problem.queryStride
        let arguments = AttentionArguments(q: q, k: k, v: v, output: result, outputStride: outputStride)
        if let obstacle = obstacle(problem, arguments) { throw .unavailable("attention", "no kernel takes these arguments: \(obstacle)") }
        // Hopper's tiles have more rows than the generic kernel's.
        if path == .hopper || (path == .automatic && isHopper()) {
            try launchHopper(problem, arguments, isInvariant: isInvariant)
        } else {
            try launchGeneric(problem, arguments)
        }
        return result
    }
}

/// The tensors of one launch.
private struct AttentionArguments {
    let q: DeviceTensor
    let k: DeviceTensor
    let v: DeviceTensor
    let output: DeviceTensor
    let outputStride: Int
}

extension OperatorContext {
    /// Why the kernels cannot do it; nil where they can.
    private func obstacle(_ problem: AttentionProblem, _ arguments: AttentionArguments) -> String? {
        guard problem.dtype != .float32 else { return "fp32" }
        guard [64, 128, 256].contains(problem.head) else { return "the head size \(problem.head) is none of 64, 128 and 256" }
        guard problem.group <= 64 else { return "\(problem.group) query heads to a key head are more than 64" }
        let tensors = [arguments.q, arguments.k, arguments.v, arguments.output]
        let strides = [problem.queryStride, problem.keyStride, problem.valueStride, arguments.outputStride]
        guard tensors.allSatisfy({ $0.address.bits % 16 == 0 }), strides.allSatisfy({ $0 % 8 == 0 }) else {
            return "tokens do not lie a multiple of 16 bytes apart"
        }
        return nil
    }

    private func launchHopper(
        _ problem: AttentionProblem, _ arguments: AttentionArguments, isInvariant: Bool
    ) throws(OperatorError) {
        for choice in HopperAttentionVariant.choices(problem, isInvariant: isInvariant) {
            try launch(choice.variant, problem, arguments, range: choice.keys)
        }
    }

    private func launch(
        _ variant: HopperAttentionVariant, _ problem: AttentionProblem, _ arguments: AttentionArguments, range: Range<Int>
    ) throws(OperatorError) {
        let loaded = try hopperAttentions.kernel(variant, in: self)
        let tables = try tables(
            problem, tokensPerTile: variant.tokensPerTile, keysPerBlock: variant.keys,
            blocks: device.multiprocessorCount * variant.residents / variant.cluster, range: range)
        // Another thread may push the plan out of the cache meanwhile.
        defer { extendLifetime(tables) }
        let size = problem.dtype.byteCount
        let element = TensorMap.Element(problem.dtype)
        let head = problem.head
        let reach = problem.mask.reach
        func map(_ tensor: DeviceTensor, _ sizes: [Int], _ strides: [Int], _ box: [Int]) throws(CUDAError) -> TensorMap {
            try TensorMap(
                tensor.address, element: element, sizes: sizes, strides: strides.map { $0 * size }, box: box, swizzle: .bytes128,
                promotion: .bytes256, context: context)
        }
        try OperatorError.wrap("attention") { () throws(CUDAError) in
            let queries = try map(
                arguments.q, [head, problem.group, problem.queryTokens, problem.keyHeads],
                [head, problem.queryStride, problem.group * head], [64, problem.group, variant.tokensPerBlock, 1])
            let sizes = [head, problem.keyHeads, problem.keyTokens]
            let keys = try map(arguments.k, sizes, [head, problem.keyStride], [64, 1, variant.keys / variant.cluster])
            let values = try map(arguments.v, sizes, [head, problem.valueStride], [64, 1, variant.keys / variant.cluster])
            try loaded.kernel.launch(
                LaunchConfiguration(
                    grid: Extent(tables.blockCount * variant.cluster), block: Extent(variant.threadCount),
                    cluster: variant.cluster > 1 ? Extent(variant.cluster) : nil, sharedByteCount: variant.sharedByteCount,
                    isProgrammatic: overlapsLaunches),
                on: stream, queries, keys, values, arguments.output.address, DeviceAddress(bits: 0), tables.tiles.address,
                tables.starts.address, Int32(problem.queryTokens), Int32(reach.left), Int32(reach.right), problem.scale,
                Int64(arguments.outputStride))
        }
    }

    private func launchGeneric(_ problem: AttentionProblem, _ arguments: AttentionArguments) throws(OperatorError) {
        let variant = GenericAttentionVariant(problem)
        let loaded = try genericAttentions.kernel(variant, in: self)
        let tables = try tables(
            problem, tokensPerTile: variant.tokensPerTile, keysPerBlock: variant.keys,
            blocks: device.multiprocessorCount * loaded.residentBlocks, range: 0..<Int.max)
        defer { extendLifetime(tables) }
        let reach = problem.mask.reach
        try OperatorError.wrap("attention") { () throws(CUDAError) in
            try loaded.kernel.launch(
                LaunchConfiguration(
                    grid: Extent(tables.blockCount), block: Extent(variant.threadCount), sharedByteCount: variant.sharedByteCount,
                    isProgrammatic: overlapsLaunches),
                on: stream, arguments.q.address, arguments.k.address, arguments.v.address, arguments.output.address, DeviceAddress(bits: 0),
                tables.tiles.address, tables.starts.address, Int32(problem.queryTokens), Int32(reach.left), Int32(reach.right),
                problem.scale, Int64(problem.queryStride), Int64(problem.keyStride), Int64(problem.valueStride),
                Int64(arguments.outputStride))
        }
    }

    /// The plan for these lengths, made or found.
    private func tables(
        _ problem: AttentionProblem, tokensPerTile: Int, keysPerBlock: Int, blocks: Int, range: Range<Int>
    ) throws(OperatorError) -> AttentionPlanCache.Tables {
        let key = AttentionPlanCache.Key(
            lengths: problem.lengths, mask: problem.mask, keyHeads: problem.keyHeads, head: problem.head, tokensPerTile: tokensPerTile,
            keysPerBlock: keysPerBlock, blocks: blocks, range: range)
        return try attentionPlans.tables(key) { () throws(OperatorError) in
            try upload(AttentionPlan(problem, tokensPerTile: tokensPerTile, keysPerBlock: keysPerBlock, blocks: blocks, range: range))
        }
    }

    private func upload(_ plan: AttentionPlan) throws(OperatorError) -> AttentionPlanCache.Tables {
        let tiles = try tensor(.int32, [plan.tiles.count])
        let starts = try tensor(.int32, [plan.starts.count])
        try OperatorError.wrap("attention") { () throws(CUDAError) in
            try stream.upload(plan.tiles, to: tiles.region)
            try stream.upload(plan.starts, to: starts.region)
        }
        return AttentionPlanCache.Tables(tiles: tiles, starts: starts, blockCount: plan.blockCount)
    }
}
