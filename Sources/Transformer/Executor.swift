/// Runs one model on one machine; the CPU and the CUDA executors differ in nothing that a caller sees but speed.
///
/// Executors are safe to share between tasks; calls that compete for the device wait for one another.
public protocol ModelExecutor: AnyObject, Sendable {
    var spec: TransformerSpec { get }

    /// What runs the model, for people: "CPU, 8 threads, avx512".
    var deviceDescription: String { get }

    /// What the keys and values of sessions are rounded to.
    var cacheFormat: KeyValueCacheFormat { get }

    /// How single tokens are computed; nil where there is one way only.
    var decodeForm: DecodeForm? { get }

    /// Tokens of a batch that suits the device.
    var preferredBatchTokens: Int { get }

    /// Batches that are worth having on their way together.
    var batchesInFlight: Int { get }

    /// Makes ready what single tokens take, so that the first answer does not wait for it; does nothing where that is little.
    ///
    /// - Parameters:
    ///   - draws: tokens will be drawn or penalised, and not only the likeliest taken.
    ///   - guesses: tokens that will be guessed ahead in a step, at most; 0 for none.
    func prepare(draws: Bool, guesses: Int) throws

    /// A new, empty sequence with a cache of its own.
    func makeSession() throws -> any DecoderSession

    /// Vectors `[B, dimensions]`, one for each sequence of the batch in order, row-major.
    ///
    /// A sequence's vector does not depend on the others of its batch beyond fp32 rounding.
    ///
    /// - Throws: ``TransformerError``: `invalidToken` for an id outside the vocabulary or an empty sequence, `contextExceeded` for a sequence longer
    ///   than the model, `nonFinite` when a vector would hold NaN or infinity.
    func encode(_ batch: TokenBatch, head: EncoderHead) throws -> [Float]

    /// ``encode(_:head:)`` in two steps, so that the next batch can be made ready while a device works; the work is done by the time
    /// ``EncodingTask/wait()`` returns.
    ///
    /// - Throws: what is wrong with the batch itself; what goes wrong later comes from ``EncodingTask/wait()``.
    func startEncoding(_ batch: TokenBatch, head: EncoderHead) throws -> EncodingTask
}

extension ModelExecutor {
    public func prepare(draws: Bool, guesses: Int) throws {}
}

/// A batch on its way to vectors.
public struct EncodingTask: Sendable {
    private let body: @Sendable () throws -> [Float]

    package init(_ body: @escaping @Sendable () throws -> [Float]) { self.body = body }

    /// The vectors. To be called once.
    public func wait() throws -> [Float] { try body() }
}

/// One growing token sequence with its key-value cache.
///
/// Not for use by two tasks at once.
public protocol DecoderSession: AnyObject, Sendable {
    /// Tokens in the cache: the position of the next one.
    var position: Int { get }

    /// Appends tokens and returns the logits `[V]` behind the last of them.
    ///
    /// - Throws: ``TransformerError``: `invalidToken`, `contextExceeded`, `noHead`; the session is then unchanged.
    func extend(_ ids: [Int32]) throws -> [Float]

    /// Appends tokens and hands out the logits `[V]` behind each of them, in order.
    func extend(_ ids: [Int32], eachLogits body: (_ position: Int, _ logits: [Float]) throws -> Void) throws

    /// Forgets all tokens from `position` on, so that a conversation whose beginning is unchanged need not be computed again.
    func rewind(to position: Int)

    /// Bytes that the cache holds now.
    var cacheByteCount: Int { get }
}

/// A sequence whose device goes from token to token by itself.
package protocol ResidentDecoderSession: DecoderSession {
    /// Chooses token after token, beginning behind `first`, which is not in the cache yet.
    ///
    /// - Parameters:
    ///   - limit: tokens at most; the model's last position ends it too.
    ///   - stops: ids that end it; they are handed over too.
    ///   - sampleable: only ids below it are chosen.
    ///   - draw: how tokens are drawn; nil takes the likeliest.
    ///   - lookup: what to guess from, where the likeliest are taken; a device that does not guess leaves it.
    ///   - body: gets each token while the next is computed; false ends the generation. The cache then holds all tokens but the last.
    /// - Returns: false where the device cannot choose the next token: all that it chose was handed over, the last one is not in the cache.
    func decode(
        from first: Int32, limit: Int, stops: [Int32], sampleable: Int, draw: DeviceDraw?, lookup: DeviceLookup?, _ body: (Int32) throws -> Bool
    ) throws -> Bool
}

extension ResidentDecoderSession {
    package func decodeGreedily(
        from first: Int32, limit: Int, stops: [Int32], sampleable: Int, lookup: DeviceLookup? = nil, _ body: (Int32) throws -> Bool
    ) throws -> Bool {
        try decode(from: first, limit: limit, stops: stops, sampleable: sampleable, draw: nil, lookup: lookup, body)
    }
}

/// How a GPU computes single tokens.
public enum DecodeMode: String, Sendable, CaseIterable {
    /// By the resident kernel where it computes the model and the memory suffices, else by layers.
    case automatic
    /// Operation by operation, as a prompt is computed.
    case layers
    /// By one kernel that stays on the GPU from token to token. It keeps a second copy of the weights.
    case resident
}

/// What the resident kernel's matrices lie in.
public enum DecodeWeightFormat: String, Sendable, CaseIterable {
    case bfloat16 = "bf16"
    /// E4M3 codes and one factor an output row, summed in fp32: half the bytes a token, and a loss that `apus verify` states.
    case float8 = "fp8"

    /// Of a weight.
    package var bits: Int { self == .bfloat16 ? 16 : 8 }
}

/// How an executor computes single tokens, and what for.
public struct DecodeForm: Sendable, Equatable {
    /// Whether the resident kernel does it.
    public let isResident: Bool
    /// Why it does not; nil where it does, or was not asked for.
    public let reason: String?
    /// Bytes on the GPU of the packed weights and of what else the resident kernel needs, beside the weights that a prompt is computed with; 0 until
    /// it is made.
    public let byteCount: Int

    package init(isResident: Bool, reason: String?, byteCount: Int) {
        self.isResident = isResident
        self.reason = reason
        self.byteCount = byteCount
    }
}

extension ModelExecutor {
    public var cacheFormat: KeyValueCacheFormat { .bfloat16 }
    public var decodeForm: DecodeForm? { nil }
    public var preferredBatchTokens: Int { 8192 }
    public var batchesInFlight: Int { 1 }

    public func startEncoding(_ batch: TokenBatch, head: EncoderHead) throws -> EncodingTask {
        EncodingTask { try self.encode(batch, head: head) }
    }

    /// Checks that every sequence of a batch has tokens, and those of the model.
    func validate(_ batch: TokenBatch) throws {
        for sequence in 0..<batch.sequenceCount {
            let ids = batch.ids[batch.offsets[sequence]..<batch.offsets[sequence + 1]]
            guard !ids.isEmpty else { throw TransformerError(.invalidToken, "sequence \(sequence) of the batch has no token") }
            try validate(ids)
        }
    }

    /// Checks ids and length of one sequence against the model.
    package func validate(_ ids: some Collection<Int32>, startingAt position: Int = 0) throws {
        for (index, id) in ids.enumerated() where id < 0 || Int(id) >= spec.vocabularySize {
            throw TransformerError(
                .invalidToken, "token \(index) is \(id), the model's vocabulary has ids 0 to \(spec.vocabularySize - 1)")
        }
        guard position + ids.count <= spec.maximumPositions else {
            throw TransformerError(
                .contextExceeded,
                "\(position + ids.count) tokens exceed the model's context of \(spec.maximumPositions)")
        }
    }
}

extension [Float] {
    /// Rows of `width` floats, checked for NaN and infinity before they leave.
    func requireFinite(width: Int) throws {
        guard let bad = firstIndex(where: { !$0.isFinite }) else { return }
        throw TransformerError(
            .nonFinite, "the vector of sequence \(bad / width) holds \(self[bad]); the weights or their number range are at fault")
    }
}
