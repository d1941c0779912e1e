import JSON

/// A JSON value of a tokenizer file together with its path, so that every complaint names its place.
struct Section {
    let value: JSONValue
    let path: String

    func failure(_ code: TokenizerError.Code, _ message: String) -> TokenizerError { TokenizerError(code, at: path, message) }

    private func typeFailure(_ expected: String) -> TokenizerError { failure(.json, "expected \(expected), found \(value.typeName)") }

    /// The member, or nil where it is absent or null.
    func optional(_ key: String) -> Section? {
        guard let member = value[key], !member.isNull else { return nil }
        return Section(value: member, path: path.isEmpty ? key : "\(path).\(key)")
    }

    func required(_ key: String) throws(TokenizerError) -> Section {
        guard value.objectValue != nil else { throw typeFailure("an object") }
        guard let member = optional(key) else { throw failure(.missing, "'\(key)' is missing") }
        return member
    }

    func string() throws(TokenizerError) -> String {
        guard let string = value.stringValue else { throw typeFailure("a string") }
        return string
    }

    func bool() throws(TokenizerError) -> Bool {
        guard let bool = value.boolValue else { throw typeFailure("a boolean") }
        return bool
    }

    func integer() throws(TokenizerError) -> Int {
        guard let integer = value.integerValue else { throw typeFailure("an integer") }
        return integer
    }

    /// A token id.
    func id() throws(TokenizerError) -> Int32 {
        guard let id = Int32(exactly: try integer()), id >= 0 else { throw failure(.range, "a token id must lie in 0..<2^31") }
        return id
    }

    func bool(_ key: String, default absent: Bool) throws(TokenizerError) -> Bool { try optional(key)?.bool() ?? absent }

    /// The elements of a list of steps, pieces or ids, of which no real file has more than a few.
    func elements(atMost limit: Int = 256) throws(TokenizerError) -> [Section] {
        guard let elements = value.arrayValue else { throw typeFailure("an array") }
        // Checked before a path is made for each.
        guard elements.count <= limit else { throw failure(.limit, "more than \(limit) elements") }
        return elements.enumerated().map { Section(value: $0.element, path: "\(path)[\($0.offset)]") }
    }

    func type() throws(TokenizerError) -> String { try required("type").string() }

    func unsupportedType(_ supported: String) throws(TokenizerError) -> TokenizerError {
        let type = try required("type")
        return type.failure(.unsupported, "'\(try type.string())' is not supported; supported are \(supported)")
    }

    /// A string that is put into texts, where a long one would multiply their size.
    func shortBytes() throws(TokenizerError) -> [UInt8] {
        let bytes = try bytes()
        guard bytes.count <= 256 else { throw failure(.limit, "longer than 256 bytes") }
        return bytes
    }

    /// The string as bytes.
    func bytes() throws(TokenizerError) -> [UInt8] { Array(try string().utf8) }
}
