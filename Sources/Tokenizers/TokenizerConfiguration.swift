import FoundationEssentials
public import JSON

/// What a `tokenizer_config.json` says.
///
/// It does not change what ``Tokenizer`` does: which tokens are added around a text is for the post-processor in `tokenizer.json` to say, as in
/// transformers' fast tokenizers. Use the tokens here for what a caller decides, such as where to stop.
public struct TokenizerConfiguration: Sendable {
    /// A chat template that has a name, from a file with several.
    public struct NamedTemplate: Sendable, Hashable {
        public let name: String
        public let template: String
    }

    public private(set) var beginningOfSequenceToken: String?
    public private(set) var endOfSequenceToken: String?
    public private(set) var paddingToken: String?
    public private(set) var unknownToken: String?
    public private(set) var addsBeginningOfSequence: Bool?
    public private(set) var addsEndOfSequence: Bool?
    /// The longest text in tokens; nil where the file has none, or a number beyond all sense that stands for none (1e30).
    public private(set) var maximumLength: Int?
    /// The template of the name "default", or the file's only one.
    public private(set) var chatTemplate: String?
    /// All templates of a file that has a list of them.
    public private(set) var namedChatTemplates: [NamedTemplate] = []
    public private(set) var tokenizerClass: String?
    /// The whole file, for what has no property here.
    public let values: JSONValue

    private static let maximumByteCount = 1 << 26

    /// Reads a `tokenizer_config.json`. Throws ``TokenizerError``.
    public init(json bytes: [UInt8]) throws {
        guard bytes.count <= Self.maximumByteCount else {
            throw TokenizerError(.limit, at: "", "the configuration has \(bytes.count) bytes; at most \(Self.maximumByteCount) are taken")
        }
        do {
            values = try JSONValue(parsing: bytes)
        } catch {
            throw TokenizerError(error, at: "")
        }
        guard values.objectValue != nil else { throw TokenizerError(.json, at: "", "expected an object, found \(values.typeName)") }
        let root = Section(value: values, path: "")
        beginningOfSequenceToken = try root.optional("bos_token")?.tokenContent()
        endOfSequenceToken = try root.optional("eos_token")?.tokenContent()
        paddingToken = try root.optional("pad_token")?.tokenContent()
        unknownToken = try root.optional("unk_token")?.tokenContent()
        addsBeginningOfSequence = try root.optional("add_bos_token")?.bool()
        addsEndOfSequence = try root.optional("add_eos_token")?.bool()
        tokenizerClass = try root.optional("tokenizer_class")?.string()
        if let section = root.optional("model_max_length") {
            guard let length = section.value.doubleValue else { throw section.failure(.json, "expected a number, found \(section.value.typeName)") }
            guard length >= 0 else { throw section.failure(.range, "must not be negative") }
            maximumLength = length < 1e15 ? Int(length) : nil
        }
        if let section = root.optional("chat_template") { try readTemplates(section) }
    }

    /// Reads the `tokenizer_config.json` at `path`. Throws ``TokenizerError``.
    public init(contentsOf path: String) throws {
        let data: Data
        do {
            data = try Data(contentsOf: URL(filePath: path))
        } catch {
            throw TokenizerError(.file, at: "", "cannot read \(path): \(error)")
        }
        try self.init(json: Array(data))
    }

    private mutating func readTemplates(_ section: Section) throws(TokenizerError) {
        if let template = section.value.stringValue {
            chatTemplate = template
            return
        }
        for element in try section.elements() {
            namedChatTemplates.append(
                NamedTemplate(name: try element.required("name").string(), template: try element.required("template").string()))
        }
        let chosen = namedChatTemplates.first { $0.name == "default" } ?? (namedChatTemplates.count == 1 ? namedChatTemplates[0] : nil)
        chatTemplate = chosen?.template
    }
}

extension Section {
    /// A token as a string or as an object that has it as its `content`.
    fileprivate func tokenContent() throws(TokenizerError) -> String {
        if value.objectValue != nil { return try required("content").string() }
        return try string()
    }
}
