import FoundationEssentials
import JSON

/// A Hugging Face `tokenizer.json`: text to token ids and back, with the ids that the Python package `tokenizers` 0.23 gives.
///
/// Byte-pair models are supported, byte-level ones (Qwen, Llama 3, GPT-2) and those in SentencePiece's manner (Gemma, Llama 2). A part of the file that
/// is not supported is an error that names it; there are never other tokens instead. The file's post-processor decides which special tokens are added,
/// as in transformers' fast tokenizers; `add_bos_token` and the like in `tokenizer_config.json` change nothing here. The file's `truncation` and
/// `padding` are not applied: what is cut or padded is for the caller to see.
///
/// One tokenizer may be used from any number of threads at once. Unicode's classes and normal forms are those that `tokenizers` has, whatever the
/// system's Unicode version is. Reading a file of n bytes takes at most 20 n + 64 MB of memory, the file itself included.
public final class Tokenizer: Sendable {
    /// Tokens looked for in the text itself, by id.
    public let addedTokens: [AddedToken]
    /// The ids left out of decoded text unless asked for.
    public let specialTokenIDs: Set<Int>
    /// How many tokens there are: the model's and those added to it.
    public let vocabularyCount: Int
    /// One more than the highest token id. A model may have more rows than that; ids from here on are no tokens.
    public let idUpperBound: Int
    /// What the file's `truncation` section says; it is not applied.
    public let truncationLength: Int?

    let model: BytePairModel
    let template: Template
    let decoder: TextDecoder
    let rawMatcher: AddedTokenMatcher
    let normalizedMatcher: AddedTokenMatcher
    let scratches: EncodingScratch.Pool

    private let addedByID: [Int32: AddedToken]
    private let addedIDs: [[UInt8]: Int32]
    /// What an added token decodes to, where it is not its content.
    private let normalizedContent: [Int32: [UInt8]]
    /// Ids whose decoded form is the content of a special token.
    let skippedIDs: Set<Int32>

    /// Reads a `tokenizer.json`. Throws ``TokenizerError``.
    public init(json bytes: [UInt8]) throws {
        let file = try TokenizerFile(bytes)
        if let version = file.section("version"), try version.string() != "1.0" {
            throw version.failure(.unsupported, "'\(try version.string())' is not supported; supported is 1.0")
        }
        guard let reader = file.model else { throw TokenizerError(.missing, at: "", "'model' is missing") }
        let model = reader.model
        let preTokenizer = try file.section("pre_tokenizer")?.preTokenizer() ?? PreTokenizer()
        var normalizer = try file.section("normalizer")?.normalizer() ?? Normalizer()
        normalizer.tracksOrigin = preTokenizer.asksForOrigin
        if let unknown = reader.unknownToken, model.unknownID < 0 {
            // `tokenizers` fails at the first text that needs it; a file that can never need it is fine.
            let hasAllBytes = preTokenizer.endsInByteLevel && !model.byteIDs.isEmpty
            let fallsBackForAll = !model.fallbackIDs.isEmpty && !model.fallbackIDs.contains(-1)
            guard hasAllBytes || fallsBackForAll else {
                throw TokenizerError(.unknownToken, at: "model.unk_token", "'\(unknown)' is not in the vocabulary")
            }
        }
        let added = try AddedTokensReader(file.addedTokens, vocabulary: model.vocabulary, normalizer: normalizer)
        (rawMatcher, normalizedMatcher) = try added.matchers()
        template = try file.section("post_processor")?.template { added.tokens[$0] != nil || model.vocabulary.bytes(of: $0) != nil } ?? Template()
        decoder = try file.section("decoder")?.decoder() ?? TextDecoder()
        truncationLength = try file.section("truncation")?.optional("max_length")?.integer()

        addedTokens = added.tokens.values.sorted { $0.id < $1.id }
        addedByID = added.tokens
        addedIDs = added.ids
        normalizedContent = added.normalizedContent
        specialTokenIDs = Set(addedTokens.filter { added.specialContents.contains(Array($0.content.utf8)) }.map(\.id))
        skippedIDs = Set(
            addedTokens.map { Int32(truncatingIfNeeded: $0.id) }
                .filter { added.specialContents.contains(added.normalizedContent[$0] ?? Array(added.tokens[$0]?.content.utf8 ?? "".utf8)) })
        vocabularyCount = model.vocabulary.count + added.ids.keys.count { model.vocabulary.id(of: $0) < 0 }
        idUpperBound = Int(max(model.vocabulary.highestID, added.tokens.keys.max() ?? -1)) + 1
        self.model = model
        scratches = EncodingScratch.Pool(normalizer, preTokenizer)
    }

    /// Reads the `tokenizer.json` at `path`. Throws ``TokenizerError``.
    public convenience init(contentsOf path: String) throws {
        let data: Data
        do {
            data = try Data(contentsOf: URL(filePath: path))
        } catch {
            throw TokenizerError(.file, at: "", "cannot read \(path): \(error)")
        }
        do {
            try self.init(json: Array(data))
        } catch let error as TokenizerError {
            throw TokenizerError(error.code, at: error.path, "\(error.message) (in \(path))")
        }
    }

    // MARK: Look-ups

    /// The id of a token as the vocabulary writes it (`Ġthe`, `▁the`, `<|im_start|>`), or nil.
    public func id(of token: String) -> Int? {
        let bytes = Array(token.utf8)
        if let id = addedIDs[bytes] { return Int(id) }
        let id = model.vocabulary.id(of: bytes)
        return id < 0 ? nil : Int(id)
    }

    /// The token with this id as the vocabulary writes it, or nil. An added token that is normalised is given in its normalised form.
    public func token(_ id: Int) -> String? { tokenBytes(id).map { String(decoding: $0, as: UTF8.self) } }

    /// Whether some token has this id.
    public func contains(_ id: Int) -> Bool {
        guard let id = Int32(exactly: id) else { return false }
        return addedByID[id] != nil || model.vocabulary.bytes(of: id) != nil
    }

    /// Whether the token is left out of decoded text unless asked for.
    public func isSpecial(_ id: Int) -> Bool { specialTokenIDs.contains(id) }

    func tokenBytes(_ id: Int) -> [UInt8]? {
        guard let id = Int32(exactly: id) else { return nil }
        if let token = addedByID[id] { return normalizedContent[id] ?? Array(token.content.utf8) }
        return model.vocabulary.bytes(of: id).map { Array($0) }
    }
}
