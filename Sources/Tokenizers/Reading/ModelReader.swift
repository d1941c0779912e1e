import JSON

/// Reads the `model` part: vocabulary and merges go straight from the file's bytes into their tables.
struct ModelReader {
    private(set) var model = BytePairModel()
    private(set) var byteFallback = false
    private(set) var unknownToken: String?

    private var hasVocabulary = false
    private var hasMerges = false
    /// Merges that stand before the vocabulary, which they need.
    private var early: JSONReader?
    private var canCutAtMark = true

    init(_ reader: inout JSONReader) throws(TokenizerError) {
        var path = "model"
        do {
            try reader.beginObject()
            while let key = try reader.nextKey() {
                path = "model.\(key)"
                switch key {
                case "type":
                    let type = try reader.readString()
                    guard type == "BPE" else { throw TokenizerError(.unsupported, at: path, "'\(type)' is not supported; supported is BPE") }
                case "vocab":
                    try readVocabulary(&reader)
                    try finishVocabulary()
                case "merges":
                    guard !hasMerges else { throw TokenizerError(.invalid, at: path, "stands twice") }
                    hasMerges = true
                    if hasVocabulary {
                        try readMerges(&reader)
                    } else {
                        early = reader
                        try reader.skipValue()
                    }
                case "dropout":
                    if try reader.peekKind() == .null {
                        try reader.readNull()
                    } else if try reader.readDouble() != 0 {
                        throw TokenizerError(.unsupported, at: path, "dropout other than 0 is not supported: it makes encoding random")
                    }
                case "continuing_subword_prefix", "end_of_word_suffix":
                    if let text = try Self.readOptionalString(&reader), !text.isEmpty {
                        throw TokenizerError(.unsupported, at: path, "'\(text)' is not supported; it must be null or empty")
                    }
                case "unk_token": unknownToken = try Self.readOptionalString(&reader)
                case "fuse_unk": model.fusesUnknown = try Self.readOptionalBool(&reader)
                case "byte_fallback": byteFallback = try Self.readOptionalBool(&reader)
                case "ignore_merges": model.ignoresMerges = try Self.readOptionalBool(&reader)
                default: try reader.skipValue()
                }
            }
            path = "model"
            guard hasVocabulary, hasMerges else {
                throw TokenizerError(.missing, at: path, hasVocabulary ? "'merges' is missing" : "'vocab' is missing")
            }
            path = "model.merges"
            if var early { try readMerges(&early) }
        } catch let error as JSONError {
            throw TokenizerError(error, at: path)
        } catch let error as TokenizerError {
            throw error
        } catch {
            throw TokenizerError(.json, at: path, "\(error)")
        }
        model.finish(byteFallback: byteFallback, canCutAtMark: canCutAtMark)
        if let unknownToken { model.unknownID = model.vocabulary.id(of: Array(unknownToken.utf8)) }
    }

    private static func readOptionalString(_ reader: inout JSONReader) throws(JSONError) -> String? {
        if try reader.peekKind() == .null {
            try reader.readNull()
            return nil
        }
        return try reader.readString()
    }

    private static func readOptionalBool(_ reader: inout JSONReader) throws(JSONError) -> Bool {
        if try reader.peekKind() == .null {
            try reader.readNull()
            return false
        }
        return try reader.readBool()
    }

    // MARK: Vocabulary

    private mutating func readVocabulary(_ reader: inout JSONReader) throws {
        guard !hasVocabulary else { throw TokenizerError(.invalid, at: "model.vocab", "stands twice") }
        hasVocabulary = true
        var vocabulary = Vocabulary()
        swap(&vocabulary, &model.vocabulary)
        try reader.beginObject()
        while try vocabulary.withBytes({ bytes throws(JSONError) in try reader.nextKey(appendingTo: &bytes) }) {
            let offset = reader.offset
            guard let id = Int32(exactly: try reader.readInteger()), id >= 0 else {
                throw TokenizerError(.range, at: "model.vocab", "byte \(offset): a token id must lie in 0..<2^31")
            }
            vocabulary.append(id: id)
        }
        swap(&vocabulary, &model.vocabulary)
    }

    private mutating func finishVocabulary() throws(TokenizerError) {
        switch model.vocabulary.finish() {
        case nil: break
        case .duplicateToken(let token): throw TokenizerError(.invalid, at: "model.vocab", "'\(token)' stands twice")
        case .duplicateID(let id, let first, let second):
            throw TokenizerError(.invalid, at: "model.vocab", "'\(first)' and '\(second)' have the same id \(id)")
        }
    }

    // MARK: Merges

    private mutating func readMerges(_ reader: inout JSONReader) throws {
        var table = MergeTable()
        var rank = 0
        var element = 0
        // The two parts one behind the other: their whole is the token that they merge to.
        var pair: [UInt8] = []
        try reader.beginArray()
        while try reader.nextElement() {
            defer { element += 1 }
            pair.removeAll(keepingCapacity: true)
            let boundary: Int
            if try reader.peekKind() == .array {
                try reader.beginArray()
                guard try reader.nextElement() else { throw notAPair(element) }
                try reader.readString(appendingTo: &pair)
                boundary = pair.count
                guard try reader.nextElement() else { throw notAPair(element) }
                try reader.readString(appendingTo: &pair)
                guard try !reader.nextElement() else { throw notAPair(element) }
            } else {
                try reader.readString(appendingTo: &pair)
                if pair.starts(with: Array("#version".utf8)) { continue }
                guard let space = pair.firstIndex(of: 0x20), pair.lastIndex(of: 0x20) == space else { throw notAPair(element) }
                pair.remove(at: space)
                boundary = space
            }
            let left = try id(pair, 0..<boundary, element)
            let right = try id(pair, boundary..<pair.count, element)
            let merged = try id(pair, 0..<pair.count, element)
            table.insert(left, right, rank: UInt32(rank), merged: merged)
            let mark = BytePairModel.mark
            if canCutAtMark, pair[boundary...].starts(with: mark), !pair[..<boundary].suffix(mark.count).elementsEqual(mark) { canCutAtMark = false }
            rank += 1
        }
        model.merges = table
    }

    private func id(_ pair: [UInt8], _ range: Range<Int>, _ element: Int) throws(TokenizerError) -> Int32 {
        let id = model.vocabulary.id(of: pair, range)
        guard id >= 0 else {
            let token = String(decoding: pair[range], as: UTF8.self)
            throw TokenizerError(.unknownToken, at: "model.merges[\(element)]", "'\(token)' is not in the vocabulary")
        }
        return id
    }

    private func notAPair(_ element: Int) -> TokenizerError {
        TokenizerError(.invalid, at: "model.merges[\(element)]", "expected a pair: two strings, or one string with one space in it")
    }
}
