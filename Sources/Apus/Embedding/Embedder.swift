package import Tokenizers
import Transformer

/// Turns texts into vectors with an encoder model.
///
///     let embedder = try await Embedder("microsoft/harrier-oss-v1-270m")
///     let vectors = try embedder.embed(["a text", "another"]).vectors
///     print(vectors.similarity(0, 1))
///
/// Pooling, dense layers and prompts come from the folder's sentence-transformers files, or are the family's usual ones. Safe to share between tasks.
public final class Embedder: Sendable {
    package let model: LoadedModel
    package let encoder: EncoderDescription
    package let tokenizer: Tokenizer

    /// Loads a model from a folder or from the hub, whose cache is used and filled; with no reference the bundled embedding model.
    ///
    /// - Throws: what finding and reading the folder throws, and ``ApusError`` with code `noDevice`, `unsupportedModel` or `missingFile`.
    public convenience init(_ reference: String? = nil, options: ModelOptions = ModelOptions()) async throws {
        var options = options
        options.preparesVectors = true
        try self.init(model: await LoadedModel(reference ?? BundledModel.embedding.name, options: options))
    }

    package init(model: LoadedModel) throws {
        self.model = model
        encoder = try model.encoderDescription()
        tokenizer = try model.requireTokenizer()
        for case let executor as CUDAExecutor in model.executors { executor.prepareEncoding(encoder.head) }
    }

    /// Length of a vector when no cut is asked for.
    public var dimensions: Int { encoder.head.fullDimension(hiddenSize: model.spec.hiddenSize) }
    /// Most tokens of a text, special tokens included.
    public var maximumTokens: Int { encoder.maximumTokens }
    /// The names of the folder's prompts.
    public var promptNames: [String] { encoder.prompts.map(\.name) }
    public var deviceDescription: String { model.executor.deviceDescription }

    /// What ``embed(_:options:progress:)`` made.
    public struct Result: Sendable {
        /// One vector a text, in the order of the texts.
        public let vectors: EmbeddingMatrix
        /// Tokens computed, special tokens included.
        public let tokenCount: Int
        /// Indices of texts that were cut to ``Embedder/maximumTokens``.
        public let cutTexts: [Int]
    }

    /// The vectors of `texts`, in their order.
    ///
    /// Texts are sorted by length and packed without padding, so mixed lengths cost what their tokens cost. Where the model is on several GPUs, they
    /// share the batches.
    ///
    /// - Parameter progress: called after each batch with the texts and tokens done so far.
    /// - Throws: ``ApusError`` with code `unknownPrompt`, `inputTooLong` or `invalidInput`; ``TransformerError`` with code `nonFinite` rather than a wrong vector.
    public func embed(
        _ texts: [String], options: EmbeddingOptions = EmbeddingOptions(), progress: (_ texts: Int, _ tokens: Int) -> Void = { _, _ in }
    ) throws -> Result {
        try embed(prepare(texts, options: options), options: options, progress: progress)
    }

    /// Texts that were tokenised, and cut where they were too long.
    public struct PreparedTexts: Sendable {
        let ids: [[Int32]]
        /// Indices of texts that were cut to ``Embedder/maximumTokens``.
        public let cutTexts: [Int]

        public var count: Int { ids.count }
    }

    /// Tokenises texts on all cores, the part of ``embed(_:options:progress:)`` that needs no GPU: the next texts can be made ready while these are
    /// computed.
    ///
    /// - Throws: ``ApusError`` with code `unknownPrompt`, `inputTooLong` or `invalidInput`.
    public func prepare(_ texts: [String], options: EmbeddingOptions = EmbeddingOptions()) throws -> PreparedTexts {
        let (prepared, fault) = try prepareLeading(texts, options: options)
        if let fault { throw fault }
        return prepared
    }

    /// As ``prepare(_:options:)``, but of the texts ahead of the first that has no vector, and what is wrong with that one.
    ///
    /// - Parameter number: of the first text, for messages.
    package func prepareLeading(
        _ texts: [String], options: EmbeddingOptions = EmbeddingOptions(), number: Int = 0
    ) throws -> (texts: PreparedTexts, fault: (any Error)?) {
        let prompt = try promptText(options.prompt)
        let prepared = texts.indices.concurrentMap { index in
            Swift.Result { try prepare(texts[index], prompt: prompt, overlong: options.overlong, number: number + index) }
        }
        var ids: [[Int32]] = []
        ids.reserveCapacity(texts.count)
        var cutTexts: [Int] = []
        do {
            for (index, text) in prepared.enumerated() {
                let (sequence, isCut) = try text.get()
                ids.append(sequence)
                if isCut { cutTexts.append(index) }
            }
        } catch {
            return (PreparedTexts(ids: ids, cutTexts: cutTexts), error)
        }
        return (PreparedTexts(ids: ids, cutTexts: cutTexts), nil)
    }

    /// A text's ids, and whether they were cut to the model's length. `number` is for messages.
    private func prepare(
        _ text: String, prompt: String, overlong: EmbeddingOptions.OverlongPolicy, number: Int
    ) throws -> (ids: [Int32], isCut: Bool) {
        let text = rendered(text, prompt: prompt)
        let sequence = tokenizer.encode(text)
        guard !sequence.isEmpty else {
            throw ApusError(.invalidInput, "text \(number) has no token, so it has no vector; the tokenizer adds none of its own")
        }
        guard sequence.count > maximumTokens else { return (try model.modelIDs(sequence), false) }
        guard overlong == .cut else {
            throw ApusError(
                .inputTooLong, "text \(number) has \(sequence.count) tokens, the model takes \(maximumTokens); cut it or allow cutting")
        }
        return (try model.modelIDs(cut(sequence, text: text)), true)
    }

    /// The vectors of texts that were made ready, in their order, as ``embed(_:options:progress:)``.
    public func embed(
        _ texts: PreparedTexts, options: EmbeddingOptions = EmbeddingOptions(), progress: (_ texts: Int, _ tokens: Int) -> Void = { _, _ in }
    ) throws -> Result {
        var head = encoder.head
        head.dimensions = options.dimensions
        try head.validate(hiddenSize: model.spec.hiddenSize)
        let width = options.dimensions ?? dimensions
        let plan = BatchPlan(
            lengths: texts.ids.map(\.count), tokenBudget: max(1, options.tokenBudget ?? model.executor.preferredBatchTokens))
        var values = [Float](repeating: 0, count: texts.count * width)
        var (doneTexts, doneTokens) = (0, 0)
        try EncodeQueue(executors: model.executors, head: head).run(
            plan.batches.count, make: { index in TokenBatch(plan.batches[index].lazy.map { texts.ids[$0] }) }
        ) { index, vectors in
            for (row, text) in plan.batches[index].enumerated() {
                values.replaceSubrange(text * width..<(text + 1) * width, with: vectors[row * width..<(row + 1) * width])
                doneTokens += texts.ids[text].count
            }
            doneTexts += plan.batches[index].count
            progress(doneTexts, doneTokens)
        }
        return Result(vectors: EmbeddingMatrix(dimensions: width, values: values), tokenCount: doneTokens, cutTexts: texts.cutTexts)
    }

    /// The text as the model sees it: prompt in front, lower case where the folder asks for that.
    public func render(_ text: String, prompt: EmbeddingOptions.Prompt = .automatic) throws -> String {
        rendered(text, prompt: try promptText(prompt))
    }

    private func rendered(_ text: String, prompt: String) -> String {
        let whole = prompt + text
        return encoder.lowercases ? whole.lowercased() : whole
    }

    private func promptText(_ prompt: EmbeddingOptions.Prompt) throws -> String {
        switch prompt {
        case .none: return ""
        case .text(let text): return text
        case .automatic:
            guard let name = encoder.defaultPromptName else { return "" }
            return try promptText(.named(name))
        case .named(let name):
            guard let found = encoder.prompts.first(where: { $0.name == name }) else {
                let known = promptNames.isEmpty ? "it has none" : "it has \(promptNames.joined(separator: ", "))"
                throw ApusError(.unknownPrompt, "\(model.name) has no prompt named '\(name)'; \(known)")
            }
            return found.text
        }
    }

    /// Cuts a sequence at the limit as transformers does: the text's own tokens are cut, special tokens around them stay.
    private func cut(_ sequence: [Int], text: String) -> [Int] {
        let bare = tokenizer.encode(text, addSpecialTokens: false)
        let added = sequence.count - bare.count
        // Where the text's tokens lie in the sequence tells what stands before and behind them.
        let before = (0...max(0, added)).first { start in
            start + bare.count <= sequence.count && sequence[start..<start + bare.count].elementsEqual(bare)
        }
        guard added >= 0, added < maximumTokens, let before else { return Array(sequence.prefix(maximumTokens)) }
        return Array(sequence.prefix(before) + bare.prefix(maximumTokens - added) + sequence.suffix(added - before))
    }
}
