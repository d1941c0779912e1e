import CUDA
import Operators
package import Transformer

/// Greedy decoding of one sequence, token by token, at given lengths of the context.
package struct DecodeBenchmark {
    package struct Row: Sendable {
        /// Positions in the cache before the first timed token.
        package let context: Int
        /// Seconds a token, of each counted run and in all.
        package let samples: [Double]
        package let seconds: Spread
        /// Of a token in the middle of a run.
        package let work: DecodeWork
        /// Between the blocks of the resident kernel, a token; nil for other ways of decoding.
        package let exchanges: Int?
        /// Nil where nothing was watched.
        package let power: GPUWatch.Reading?
        /// Tokens while the power was watched.
        package let watchedTokens: Int

        package var tokensPerSecond: Double { 1 / seconds.median }
        package var bytesPerSecond: Double { Double(work.bytes) / seconds.median }
        package var tokensPerJoule: Double? { power.flatMap { $0.joules > 0 ? Double(watchedTokens) / $0.joules : nil } }

        package init(
            context: Int, samples: [Double], seconds: Spread, work: DecodeWork, exchanges: Int?, power: GPUWatch.Reading?, watchedTokens: Int
        ) {
            self.context = context
            self.samples = samples
            self.seconds = seconds
            self.work = work
            self.exchanges = exchanges
            self.power = power
            self.watchedTokens = watchedTokens
        }

        /// Microseconds of an exchange if all of the token's time beyond the reading of its bytes went there: no exchange costs more in the mean.
        package func exchangeBound(readRate: Double?) -> Double? {
            guard let exchanges, exchanges > 0, let readRate, readRate > 0 else { return nil }
            return max(0, seconds.median - Double(work.bytes) / readRate) * 1e6 / Double(exchanges)
        }
    }

    /// Bytes of the GPU, as counted and as the driver says.
    package struct Memory: Sendable, Equatable {
        /// Row-major weights.
        package let weights: Int
        /// What the resident kernel keeps beside them.
        package let engine: Int
        package let cache: Int
        /// Rows of the prefill, and what they read of a cache of codes.
        package let space: Int
        /// Taken between the loading of the model and the end of the benchmark.
        package let measured: Int

        package var predicted: Int { weights + engine + cache + space }

        package init(weights: Int, engine: Int, cache: Int, space: Int, measured: Int) {
            self.weights = weights
            self.engine = engine
            self.cache = cache
            self.space = space
            self.measured = measured
        }
    }

    /// The lengths that are measured unless others are asked for.
    package static let contexts = [1, 200, 500, 1900, 8192, 32_768]

    let executor: any ModelExecutor
    let steps: Int

    package init(_ executor: any ModelExecutor, steps: Int) {
        self.executor = executor
        self.steps = steps
    }

    /// Of ``contexts``, those behind which the model has room for the timed tokens.
    package func fitting(_ contexts: [Int]) -> [Int] { contexts.filter { $0 + steps + 1 <= executor.spec.maximumPositions } }

    /// Scattered tokens, the same each time, fill the cache; then `steps` tokens are timed, from the arrival of the first to that of the last.
    ///
    /// - Parameters:
    ///   - watch: Further runs of half a second together are watched by it.
    ///   - cacheByteCount: gets the most that the cache has taken: where it had to grow for the timed tokens, its old memory and its new.
    package func row(context: Int, runs: Int, watch: GPUWatch? = nil, cacheByteCount: (Int) -> Void = { _ in }) throws -> Row {
        guard context >= 1, context + steps + 1 <= executor.spec.maximumPositions else {
            throw TransformerError(
                .contextExceeded, "\(context) positions and \(steps + 1) tokens exceed the model's \(executor.spec.maximumPositions)")
        }
        let (session, first) = try filled(context)
        let filled = session.cacheByteCount
        func run() throws -> Double {
            session.rewind(to: context)
            return try timed(session, from: first)
        }
        // The first run compiles, packs and warms up.
        _ = try run()
        let times = try (0..<runs).map { _ in try run() }
        guard let spread = Spread(times) else { throw TransformerError(.invalidSpec, "a benchmark needs at least one run") }
        var watched = 0
        let power = try watch?.watch {
            let clock = ContinuousClock()
            let end = clock.now + .milliseconds(500)
            while clock.now < end {
                _ = try run()
                watched += steps + 1
            }
        }
        cacheByteCount(session.cacheByteCount + (session.cacheByteCount > filled ? filled : 0))
        let device = executor as? CUDAExecutor
        return Row(
            context: context, samples: times, seconds: spread,
            work: DecodeWork(
                spec: executor.spec, position: context + steps / 2, weightBits: device?.decodeWeightBits ?? 16,
                cacheFormat: device?.cacheFormat ?? .bfloat16),
            exchanges: device?.decodeForm?.isResident == true ? try device?.decodeExchanges(position: context + steps / 2) : nil,
            power: power,
            watchedTokens: watched)
    }

    /// What the GPU holds now; nil on a CPU.
    ///
    /// - Parameters:
    ///   - free: bytes that were free before the model was loaded.
    ///   - cache: bytes of the largest cache.
    package func memory(freeBefore free: Int, cache: Int, longest context: Int) throws -> Memory? {
        guard let device = executor as? CUDAExecutor else { return nil }
        return Memory(
            weights: device.weights.byteCount, engine: try device.decodeByteCount(), cache: cache,
            space: device.spaceByteCount(rows: context) + device.cacheRowByteCount,
            measured: free - (try device.context.context.memory().free))
    }

    /// A session behind `context` scattered tokens, the same each time, and the token that goes on.
    func filled(_ context: Int) throws -> (session: any DecoderSession, first: Int32) {
        let session = try executor.makeSession()
        let ids = (0..<context).map { Int32(($0 &* 7919 &+ 13) % executor.spec.vocabularySize) }
        _ = try session.extend(ids)
        return (session, ids[0])
    }

    /// Seconds a token; `body` gets each.
    func timed(_ session: any DecoderSession, from first: Int32, _ body: (Int32) -> Void = { _ in }) throws -> Double {
        let clock = ContinuousClock()
        var (start, end, count) = (clock.now, clock.now, 0)
        func arrived(_ token: Int32) -> Bool {
            end = clock.now
            body(token)
            if count == 0 { start = end }
            count += 1
            return true
        }
        let isResident = try (session as? any ResidentDecoderSession)?.decodeGreedily(
            from: first, limit: steps + 1, stops: [], sampleable: executor.spec.vocabularySize, arrived)
        if isResident != true {
            var token = first
            for _ in 0...steps {
                let logits = try session.extend([token])
                token = Int32(logits.indices.max { logits[$0] < logits[$1] } ?? 0)
                _ = arrived(token)
            }
        }
        return (end - start) / .seconds(1) / Double(max(1, count - 1))
    }
}
