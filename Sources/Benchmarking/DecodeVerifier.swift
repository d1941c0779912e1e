package import Apus
import CUDA
import Operators
import Tokenizers
package import Transformer

/// Holds a device that goes from token to token by itself against the same device taken step by step, and draws on it against the host's sampler.
///
/// Both ways run the same arithmetic, so their tokens must be the same, one and all.
package struct DecodeVerifier {
    private let generator: Generator
    private let executor: any ModelExecutor
    private let seed: UInt64
    /// Long enough for a second launch.
    private static let queuedTokens = 530
    private static let drawnTokens = 64
    private static let takenTokens = 7

    package init(model: LoadedModel, executor: any ModelExecutor, seed: UInt64) throws {
        generator = try Generator(model: model)
        self.executor = executor
        self.seed = seed
    }

    package func run(report: (ModelVerifier.Check) throws -> Void) throws {
        let room = executor.spec.maximumPositions - 16
        let prompt = ids(9, stream: "decode")
        for (index, (name, parameters)) in Self.draws.enumerated() {
            var sampling = parameters
            sampling.seed = seed
            let count = max(1, min(room, index == 0 ? Self.queuedTokens : Self.drawnTokens))
            let options = GenerationOptions(maximumTokens: count, sampling: sampling, ignoresEndOfSequence: true)
            let queued = try generator.generate(ids: prompt, options: options, session: executor.makeSession())
            let single = try generator.generate(ids: prompt, options: options, session: SingleSteps(executor.makeSession()))
            try report(
                .init(
                    name: "\(name): \(count) queued are \(count) single", value: Double(Self.differences(queued.tokens, single.tokens)), bound: 0,
                    isLowerBound: false))
            try report(
                .init(
                    name: "\(name): left after \(Self.takenTokens), asked again",
                    value: Double(leaving(prompt, options, whole: queued.tokens)), bound: 0, isLowerBound: false))
        }
    }

    /// Greedy texts with guesses against those without, behind prompts that repeat themselves and prompts that do not: token for token the same.
    package func runSpeculation(guesses: Int, report: (ModelVerifier.Check) throws -> Void) throws {
        let room = executor.spec.maximumPositions - 1
        let phrase = ids(12, stream: "phrase")
        let prompts = [
            ("scattered tokens", ids(9, stream: "decode")), ("a phrase twice", phrase + phrase),
            ("a phrase many times", (0..<min(200, room / 2)).map { phrase[$0 % 12] }),
            ("a sentence many times", try SpeculationBenchmark.prompt(min(150, room / 2), generator)), ("one token", [phrase[0]]),
        ]
        for (name, prompt) in prompts {
            var options = GenerationOptions(maximumTokens: max(1, min(room - prompt.count, Self.queuedTokens)), ignoresEndOfSequence: true)
            let plain = try generator.generate(ids: prompt, options: options, session: executor.makeSession())
            options.promptLookupTokens = guesses
            let session = try executor.makeSession()
            let guessed = try generator.generate(ids: prompt, options: options, session: session)
            let speculation = guessed.speculation
            try report(
                .init(
                    name: "\(name): \(guessed.tokens.count) in \(speculation.steps) steps",
                    value: Double(Self.differences(plain.tokens, guessed.tokens)), bound: 0, isLowerBound: false))
        }
    }

    /// A caller who takes a few tokens of an answer and leaves, then asks for all of it in the same session: tokens that are not those of `whole`.
    private func leaving(_ prompt: [Int], _ options: GenerationOptions, whole: [Int]) throws -> Int {
        let session = try executor.makeSession()
        var taken = 0
        let left = try generator.generate(ids: prompt, options: options, session: session) { _ in
            taken += 1
            return taken < Self.takenTokens
        }
        let wasCancelled = left.finishReason == .cancelled || whole.count <= Self.takenTokens
        session.rewind(to: 0)
        let again = try generator.generate(ids: prompt, options: options, session: session)
        return Self.differences(left.tokens, Array(whole.prefix(Self.takenTokens))) + Self.differences(again.tokens, whole) + (wasCancelled ? 0 : 1)
    }

    /// Short conversations one after another, each with a session of its own, a few beginnings and seeds in turn: the same give the same text, and
    /// the device's memory does not grow by as much as one of them holds.
    package func runConversations(_ count: Int, report: (ModelVerifier.Check) throws -> Void) throws {
        var first: [[Int]] = []
        var (wrong, largest, before) = (0, 0, 0)
        let kinds = min(16, max(1, count / 2))
        for index in 0..<count {
            let kind = index % kinds
            // All memory that the kinds need has been taken once.
            if index == 2 * kinds { before = try freeMemory() }
            let session = try executor.makeSession()
            var sampling = Self.draws[kind % Self.draws.count].parameters
            sampling.seed = UInt64(kind)
            let options = GenerationOptions(maximumTokens: 8 + kind, sampling: sampling, ignoresEndOfSequence: true)
            let tokens = try generator.generate(ids: ids(3 + 2 * kind, stream: "talk \(kind)"), options: options, session: session).tokens
            largest = max(largest, session.cacheByteCount)
            if index < kinds { first.append(tokens) } else if tokens != first[kind] { wrong += 1 }
        }
        try report(.init(name: "\(count) conversations: other tokens", value: Double(wrong), bound: 0, isLowerBound: false))
        guard executor is CUDAExecutor, count > 2 * kinds else { return }
        try report(
            .init(
                name: "\(count) conversations: bytes kept", value: Double(before - (try freeMemory())), bound: Double(largest), isLowerBound: false))
    }

    private func freeMemory() throws -> Int {
        guard let device = executor as? CUDAExecutor else { return 0 }
        try device.context.synchronize()
        try device.context.context.trimMemory()
        return try device.context.context.memory().free
    }

    private func ids(_ count: Int, stream: String) -> [Int] {
        let numbers = RandomNumbers(seed: seed, stream: stream)
        let limit = generator.tokenizer.map { min($0.vocabularyCount, executor.spec.vocabularySize) } ?? executor.spec.vocabularySize
        return (0..<count).map { Int((abs(numbers.normal($0)) * 1e6).truncatingRemainder(dividingBy: Float(limit))) }
    }

    static func differences(_ a: [Int], _ b: [Int]) -> Int {
        zip(a, b).filter { $0 != $1 }.count + abs(a.count - b.count)
    }

    /// Every way of choosing that a device has, and those that it hands back.
    static let draws: [(name: String, parameters: SamplingParameters)] = {
        func parameters(_ change: (inout SamplingParameters) -> Void) -> SamplingParameters {
            var parameters = SamplingParameters()
            change(&parameters)
            return parameters
        }
        return [
            ("likeliest", SamplingParameters()),
            ("temperature 1", parameters { $0.temperature = 1 }),
            ("top-k 20, top-p 0.95", parameters { ($0.temperature, $0.topK, $0.topP) = (0.6, 20, 0.95) }),
            ("top-p 0.8", parameters { ($0.temperature, $0.topP) = (0.5, 0.8) }),
            ("min-p 0.1", parameters { ($0.temperature, $0.minP) = (0.7, 0.1) }),
            ("top-k 100", parameters { ($0.temperature, $0.topK) = (1, 100) }),
            ("penalties", parameters { ($0.temperature, $0.topK, $0.repetitionPenalty, $0.frequencyPenalty) = (1.2, 30, 1.3, 0.3) }),
            ("likeliest, penalties", parameters { ($0.repetitionPenalty, $0.presencePenalty) = (1.2, 0.4) }),
        ]
    }()
}

/// A session that does not let its device choose.
private final class SingleSteps: DecoderSession, Sendable {
    private let inner: any DecoderSession

    init(_ inner: any DecoderSession) { self.inner = inner }

    var position: Int { inner.position }
    var cacheByteCount: Int { inner.cacheByteCount }
    func extend(_ ids: [Int32]) throws -> [Float] { try inner.extend(ids) }
    func extend(_ ids: [Int32], eachLogits body: (_ position: Int, _ logits: [Float]) throws -> Void) throws {
        try inner.extend(ids, eachLogits: body)
    }
    func rewind(to position: Int) { inner.rewind(to: position) }
}
