import JSON

/// The parts of a `tokenizer.json`, in any order: the small ones as values, the model read where it lies.
struct TokenizerFile {
    static let maximumByteCount = 1 << 30
    /// Larger sections than this, outside the model and the added tokens, are refused: a JSON value takes many times its text.
    static let maximumSectionByteCount = 1 << 19

    private(set) var sections: [String: JSONValue] = [:]
    private(set) var model: ModelReader?
    /// Stands before the value: the tokens need the model and the normaliser, which may come behind them.
    private(set) var addedTokens: JSONReader?

    init(_ bytes: [UInt8]) throws(TokenizerError) {
        guard bytes.count <= Self.maximumByteCount else {
            throw TokenizerError(.limit, at: "", "the file has \(bytes.count) bytes; at most \(Self.maximumByteCount) are taken")
        }
        guard (try? UTF8Span(validating: bytes.span)) != nil else { throw TokenizerError(.json, at: "", "the file is not valid UTF-8") }
        var section = ""
        do {
            var reader = JSONReader(bytes)
            try reader.beginObject()
            while let key = try reader.nextKey() {
                section = key
                switch key {
                case "model":
                    model = try ModelReader(&reader)
                case "added_tokens":
                    addedTokens = reader
                    try reader.skipValue()
                case "version", "normalizer", "pre_tokenizer", "post_processor", "decoder", "truncation", "padding":
                    let start = reader
                    try reader.skipValue()
                    guard reader.offset - start.offset <= Self.maximumSectionByteCount else {
                        throw TokenizerError(.limit, at: key, "the section has more than \(Self.maximumSectionByteCount) bytes")
                    }
                    var second = start
                    sections[key] = try second.readValue()
                default: try reader.skipValue()
                }
            }
            section = ""
            try reader.finish()
        } catch let error as JSONError {
            throw TokenizerError(error, at: section)
        } catch let error as TokenizerError {
            throw error
        } catch {
            throw TokenizerError(.json, at: section, "\(error)")
        }
    }

    /// A small section, or nil where it is absent or null.
    func section(_ key: String) -> Section? {
        guard let value = sections[key], !value.isNull else { return nil }
        return Section(value: value, path: key)
    }
}

extension TokenizerError {
    init(_ error: JSONError, at path: String) {
        self.init(.json, at: path, "byte \(error.offset): \(error.message)")
    }
}
