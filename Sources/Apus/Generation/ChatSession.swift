public import JSON
import Transformer

/// A conversation with a model: keeps the messages and the computed beginning, so that a turn computes only what is new.
///
/// Not for use by two tasks at once.
public final class ChatSession {
    public let generator: Generator
    /// The conversation so far, the system message included.
    public private(set) var messages: [ChatMessage] = []
    /// Whether a reasoning model is to think before it answers; nil leaves it to the template.
    public var thinking: Bool?
    public var tools: JSONValue?

    private let session: any DecoderSession
    /// The ids that the session holds.
    private var cached: [Int] = []

    /// What a turn did.
    public struct Turn: Sendable {
        public let result: GenerationResult
        /// Messages that were dropped from the start of the conversation because it had outgrown the context.
        public let droppedMessages: [ChatMessage]
        /// Tokens of the prompt that the session still held.
        public let reusedTokens: Int
    }

    /// - Throws: ``ApusError`` with code `missingFile` when the model has no chat template or tokenizer.
    public init(_ generator: Generator, system: String? = nil) throws {
        _ = try generator.model.chat.template()
        self.generator = generator
        session = try generator.model.executor.makeSession()
        if let system { messages.append(ChatMessage(.system, system)) }
    }

    /// Forgets the conversation but for the system message.
    public func clear() { messages.removeAll { $0.role != .system } }

    /// Adds the user's message and generates the answer, which joins the conversation, also when it was stopped midway.
    ///
    /// When prompt and answer would not fit the context, the oldest turns are dropped, never the system message nor the new message.
    ///
    /// - Throws: ``ApusError`` with code `contextExceeded` when even the new message alone does not fit; the conversation is then as before.
    public func respond(
        to content: String, options: GenerationOptions, onPiece: (GenerationPiece) throws -> Bool = { _ in true }
    ) throws -> Turn {
        let before = messages
        messages.append(ChatMessage(.user, content))
        do {
            let (ids, dropped) = try fittingPrompt(reserving: options.maximumTokens)
            let reused = alignSession(with: ids)
            let result = try generator.generate(ids: ids, options: options, session: session, onPiece: onPiece)
            cached = Array((ids + result.tokens).prefix(session.position))
            messages.append(ChatMessage(.assistant, result.text))
            return Turn(result: result, droppedMessages: dropped, reusedTokens: reused)
        } catch {
            messages = before
            cached = Array(cached.prefix(session.position))
            throw error
        }
    }

    /// Drops the oldest turns until the prompt leaves room for an answer: `reserving` tokens, or a quarter of the context where that is less.
    private func fittingPrompt(reserving tokens: Int) throws -> (ids: [Int], dropped: [ChatMessage]) {
        let limit = generator.contextLength - max(1, min(tokens, generator.contextLength / 4))
        var dropped: [ChatMessage] = []
        while true {
            let ids = try generator.encode(messages: messages, tools: tools, thinking: thinking)
            if ids.count <= limit { return (ids, dropped) }
            let firstTurn = messages.firstIndex { $0.role != .system } ?? messages.count
            guard let nextTurn = messages[firstTurn...].dropFirst().firstIndex(where: { $0.role == .user }) else {
                throw ApusError(
                    .contextExceeded,
                    "the message makes a prompt of \(ids.count) tokens, but the model's context of \(generator.contextLength) leaves room for \(limit)"
                )
            }
            dropped += messages[firstTurn..<nextTurn]
            messages.removeSubrange(firstTurn..<nextTurn)
        }
    }

    /// Rewinds the session to the longest common beginning with `ids`, leaving at least one token to compute; returns how many are kept.
    private func alignSession(with ids: [Int]) -> Int {
        var common = 0
        while common < min(cached.count, ids.count - 1), cached[common] == ids[common] { common += 1 }
        session.rewind(to: common)
        cached = Array(cached.prefix(common))
        return common
    }
}
