public import JSON
public import Tokenizers
public import Transformer

/// Continues texts and answers chats with a decoder model.
///
///     let generator = try await Generator("Qwen/Qwen3-0.6B")
///     let result = try generator.generate("Once upon a time", options: .init(maximumTokens: 64))
///     print(result.text)
///
/// Safe to share between tasks; each generation has a sequence of its own unless a session is passed.
public final class Generator: Sendable {
    package let model: LoadedModel

    /// Loads a model from a folder or from the hub, whose cache is used and filled; with no reference the bundled text model.
    ///
    /// - Throws: what finding and reading the folder throws, and ``ApusError`` with code `noDevice` or `unsupportedModel`.
    public convenience init(_ reference: String? = nil, options: ModelOptions = ModelOptions()) async throws {
        try self.init(model: await LoadedModel(reference ?? BundledModel.text.name, options: options))
    }

    package init(model: LoadedModel) throws {
        guard model.hasHead, !model.spec.isBidirectional else {
            throw ApusError(
                .unsupportedModel, "'\(model.name)' is an encoder without a vocabulary head; use it for vectors (apus embed), not for text")
        }
        self.model = model
    }

    /// The longest sequence the model takes, prompt and answer together, in tokens.
    public var contextLength: Int { model.spec.maximumPositions }
    public var tokenizer: Tokenizer? { model.tokenizer }
    public var deviceDescription: String { model.executor.deviceDescription }

    /// Parameters as the model's `generation_config.json` has them: greedy unless that file asks for sampling.
    public var defaultSampling: SamplingParameters { model.defaultSampling }

    /// The ids of a text, with the special tokens that the tokenizer adds.
    public func encode(_ text: String) throws -> [Int] { try model.requireTokenizer().encode(text) }

    /// Continues `prompt`.
    public func generate(
        _ prompt: String, options: GenerationOptions, onPiece: (GenerationPiece) throws -> Bool = { _ in true }
    ) throws -> GenerationResult {
        try generate(ids: encode(prompt), options: options, onPiece: onPiece)
    }

    /// Continues a token sequence.
    ///
    /// - Parameters:
    ///   - ids: the whole prompt, at least one token.
    ///   - session: a session whose tokens are a prefix of `ids`, so that only the rest is computed; nil for a fresh one.
    ///   - onPiece: called after every step before the next is computed; returning false ends the generation.
    /// - Throws: ``TransformerError`` for ids or lengths that the model does not take, ``ApusError`` for parameters out of range.
    public func generate(
        ids: [Int], options: GenerationOptions, session: (any DecoderSession)? = nil, onPiece: (GenerationPiece) throws -> Bool = { _ in true }
    ) throws -> GenerationResult {
        var run = try GenerationRun(model: model, options: options, promptIDs: ids)
        if session == nil { try prepare(options) }
        let session = try session ?? model.executor.makeSession()
        return try run.execute(session: session, onPiece: onPiece)
    }

    /// Makes ready what answers with these options take, kernels above all; the first such answer does it otherwise.
    public func prepare(_ options: GenerationOptions) throws {
        // A device guesses where the likeliest tokens are taken.
        let draws = options.sampling.draws
        try model.executor.prepare(draws: draws, guesses: draws ? 0 : options.promptLookupTokens)
    }

    /// Continues `prompt` on a thread of its own and hands the pieces over as they come.
    ///
    /// Ending the iteration, or cancelling the task that iterates, stops the generation after the step in progress.
    public func stream(_ prompt: String, options: GenerationOptions) -> AsyncThrowingStream<GenerationPiece, any Error> {
        stream(options: options) { try self.encode(prompt) }
    }

    /// Answers `messages`, which are rendered with the model's chat template.
    public func stream(messages: [ChatMessage], options: GenerationOptions) -> AsyncThrowingStream<GenerationPiece, any Error> {
        stream(options: options) { try self.encode(messages: messages) }
    }

    /// The ids of a conversation as the model's chat template renders it.
    public func encode(messages: [ChatMessage], tools: JSONValue? = nil, thinking: Bool? = nil) throws -> [Int] {
        try model.requireTokenizer().encode(render(messages: messages, tools: tools, thinking: thinking), addSpecialTokens: false)
    }

    /// The text of a conversation as the model's chat template renders it, with the generation prompt at its end.
    public func render(messages: [ChatMessage], tools: JSONValue? = nil, thinking: Bool? = nil) throws -> String {
        try model.chat.render(messages: messages.map(\.json), tools: tools, thinking: thinking, addGenerationPrompt: true)
    }

    private func stream(
        options: GenerationOptions, ids: @escaping @Sendable () throws -> [Int]
    ) -> AsyncThrowingStream<GenerationPiece, any Error> {
        AsyncThrowingStream { continuation in
            let stopped = StopFlag()
            continuation.onTermination = { _ in stopped.set() }
            EngineThread.run {
                do {
                    _ = try self.generate(ids: ids(), options: options) { piece in
                        continuation.yield(piece)
                        return !stopped.isSet
                    }
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
        }
    }
}
