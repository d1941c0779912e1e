import JSON

/// Reads `added_tokens` and gives them their ids, as `tokenizers` does when it loads a file.
struct AddedTokensReader {
    /// By id.
    private(set) var tokens: [Int32: AddedToken] = [:]
    /// What a token decodes to, where its normalised form differs from its content.
    private(set) var normalizedContent: [Int32: [UInt8]] = [:]
    /// Contents, because a token stays special once any entry for it was.
    private(set) var specialContents: Set<[UInt8]> = []
    private(set) var ids: [[UInt8]: Int32] = [:]

    init(_ reader: JSONReader?, vocabulary: Vocabulary, normalizer: Normalizer) throws(TokenizerError) {
        guard var reader else { return }
        var element = 0
        do {
            if try reader.peekKind() == .null { return }
            var next = vocabulary.count
            try reader.beginArray()
            while try reader.nextElement() {
                var value = reader
                try reader.skipValue()
                let path = "added_tokens[\(element)]"
                guard reader.offset - value.offset <= TokenizerFile.maximumSectionByteCount else {
                    throw TokenizerError(.limit, at: path, "the token has more than \(TokenizerFile.maximumSectionByteCount) bytes")
                }
                try add(Section(value: try value.readValue(), path: path), vocabulary, normalizer, &next)
                element += 1
            }
        } catch let error as JSONError {
            throw TokenizerError(error, at: "added_tokens[\(element)]")
        } catch let error as TokenizerError {
            throw error
        } catch {
            throw TokenizerError(.json, at: "added_tokens[\(element)]", "\(error)")
        }
    }

    private mutating func add(_ section: Section, _ vocabulary: Vocabulary, _ normalizer: Normalizer, _ next: inout Int) throws(TokenizerError) {
        let content = try section.required("content").string()
        let fileID = try section.required("id").id()
        let bytes = Array(content.utf8)
        guard !bytes.isEmpty else { return }
        let isSpecial = try section.bool("special", default: false)
        var id = ids[bytes] ?? vocabulary.id(of: bytes)
        if id < 0 {
            guard let assigned = Int32(exactly: next) else { throw section.failure(.range, "no token id is left") }
            id = assigned
            next += 1
        }
        guard id == fileID else {
            // Numbers of its own would be another tokenizer's ids: `tokenizers` warns and renumbers, which no model was trained with.
            throw section.failure(.invalid, "'\(content)' has the id \(fileID), but the vocabulary and the tokens before it make it \(id)")
        }
        let token = AddedToken(
            id: Int(id), content: content, isSpecial: isSpecial, isSingleWord: try section.bool("single_word", default: false),
            stripsLeft: try section.bool("lstrip", default: false), stripsRight: try section.bool("rstrip", default: false),
            isNormalized: try section.bool("normalized", default: !isSpecial))
        ids[bytes] = id
        tokens[id] = token
        if isSpecial { specialContents.insert(bytes) }
        if token.isNormalized {
            var normalized = bytes
            var originCount = 0
            normalizer.normalize(&normalized, originCount: &originCount)
            if normalized != bytes { normalizedContent[id] = normalized }
        }
    }

    /// The matchers for raw and for normalised text.
    func matchers() throws(TokenizerError) -> (raw: AddedTokenMatcher, normalized: AddedTokenMatcher) {
        var raw: [AddedTokenMatcher.Entry] = []
        var normalized: [AddedTokenMatcher.Entry] = []
        var seen: [[UInt8]: String] = [:]
        for (id, token) in tokens.sorted(by: { $0.key < $1.key }) {
            guard token.isNormalized else {
                raw.append(.init(text: Array(token.content.utf8), token: token))
                continue
            }
            let text = normalizedContent[id] ?? Array(token.content.utf8)
            guard !text.isEmpty else { throw TokenizerError(.invalid, at: "added_tokens", "'\(token.content)' is empty once normalised") }
            if let other = seen.updateValue(token.content, forKey: text) {
                throw TokenizerError(.invalid, at: "added_tokens", "'\(other)' and '\(token.content)' are the same once normalised")
            }
            normalized.append(.init(text: text, token: token))
        }
        return (AddedTokenMatcher(raw), AddedTokenMatcher(normalized))
    }
}
