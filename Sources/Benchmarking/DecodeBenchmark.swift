package import Transformer

/// Greedy decoding of one sequence, token by token, at given lengths of the context.
package struct DecodeBenchmark {
    package struct Row: Sendable {
        /// Positions in the cache before the first timed token.
        package let context: Int
        package let microseconds: Spread
        /// Bytes of weights and cache that a token reads, in the middle of the run.
        package let byteCount: Int
        package var tokensPerSecond: Double { 1e6 / microseconds.median }
        package var gigabytesPerSecond: Double { Double(byteCount) / microseconds.median / 1e3 }
    }

    private let executor: any ModelExecutor
    private let steps: Int

    package init(_ executor: any ModelExecutor, steps: Int) {
        self.executor = executor
        self.steps = steps
    }

    /// Scattered tokens, the same each time, fill the cache; then `steps` tokens are timed, from the arrival of the first to that of the last.
    package func row(context: Int, runs: Int) throws -> Row {
        let session = try executor.makeSession()
        let ids = (0..<context).map { Int32(($0 &* 7919 &+ 13) % executor.spec.vocabularySize) }
        _ = try session.extend(ids)
        var times: [Double] = []
        // The first run compiles, packs and warms up.
        for run in 0...runs {
            session.rewind(to: context)
            let time = try timed(session, from: ids[0])
            if run > 0 { times.append(time) }
        }
        guard let spread = Spread(times) else { throw TransformerError(.invalidSpec, "a benchmark needs at least one run") }
        return Row(context: context, microseconds: spread, byteCount: byteCount(at: context + steps / 2))
    }

    /// Microseconds a token.
    private func timed(_ session: any DecoderSession, from first: Int32) throws -> Double {
        let clock = ContinuousClock()
        var (start, end, count) = (clock.now, clock.now, 0)
        func arrived(_: Int32) -> Bool {
            end = clock.now
            if count == 0 { start = end }
            count += 1
            return true
        }
        let isResident = try (session as? any GreedyDecoderSession)?.decodeGreedily(
            from: first, limit: steps + 1, stops: [], sampleable: executor.spec.vocabularySize, arrived)
        if isResident != true {
            var token = first
            for _ in 0...steps {
                let logits = try session.extend([token])
                token = Int32(logits.indices.max { logits[$0] < logits[$1] } ?? 0)
                _ = arrived(token)
            }
        }
        return (end - start) / .microseconds(1) / Double(max(1, count - 1))
    }

    private func byteCount(at position: Int) -> Int {
        let spec = executor.spec
        let layer = spec.hiddenSize * spec.headDimension * 2 * (spec.queryHeads + spec.keyValueHeads) + 3 * spec.hiddenSize * spec.intermediateSize
        let cached = spec.layers.map { min(position, $0.window ?? position) }.reduce(0, +)
        return 2 * (spec.layers.count * layer + spec.vocabularySize * spec.hiddenSize + 2 * cached * spec.keyValueHeads * spec.headDimension)
    }
}
