package import JSON
import OrderedCollections

/// An object of a JSON file with typed access: every refusal names the file, the key, what was expected and what was found.
///
/// A key that is absent and one that is `null` are the same thing, as transformers writes `null` for "not set".
package struct ConfigurationObject: Sendable {
    /// Larger counts than this are refused: no dimension of a model that could be loaded comes near it.
    package static let maximumInteger = 1 << 30

    /// The file's name as messages show it.
    package let file: String
    /// Where in the file this object lies: "" for the root, else for example `text_config.`.
    package let prefix: String
    package let members: JSONObject

    package init(file: String, members: JSONObject, prefix: String = "") {
        self.file = file
        self.members = members
        self.prefix = prefix
    }

    /// Parses `bytes`, which must hold one object.
    package init(file: String, parsing bytes: [UInt8]) throws(ModelHubError) {
        let value: JSONValue
        do {
            value = try JSONValue(parsing: bytes)
        } catch {
            throw ModelHubError(.invalidFile, "\(file), byte \(error.offset): \(error.message)")
        }
        guard let members = value.objectValue else {
            throw ModelHubError(.invalidFile, "\(file): expected an object, found \(Self.show(value))")
        }
        self.init(file: file, members: members)
    }

    /// Reads `file` of `folder`, which must be there and hold one object of at most `maximumByteCount` bytes.
    package init(reading file: String, of folder: ModelFolder, maximumByteCount: Int = 64 << 20) throws(ModelHubError) {
        try self.init(file: folder.describe(file), parsing: try folder.bytes(of: file, maximumByteCount: maximumByteCount))
    }

    /// The value of `key`, or nil where it is absent or null.
    package func value(_ key: String) -> JSONValue? {
        guard let value = members[key], !value.isNull else { return nil }
        return value
    }

    package func has(_ key: String) -> Bool { value(key) != nil }

    // MARK: Integers

    package func integerIfPresent(_ key: String, in range: ClosedRange<Int> = 0...maximumInteger) throws(ModelHubError) -> Int? {
        guard let value = value(key) else { return nil }
        guard let integer = value.integerValue, range.contains(integer) else {
            throw invalid(key, expected: "an integer from \(range.lowerBound) to \(range.upperBound)", found: value)
        }
        return integer
    }

    /// The first of `keys` that is there.
    package func integerIfPresent(
        anyOf keys: [String], in range: ClosedRange<Int> = 0...maximumInteger
    ) throws(ModelHubError) -> Int? {
        for key in keys {
            if let integer = try integerIfPresent(key, in: range) { return integer }
        }
        return nil
    }

    package func integer(_ key: String, in range: ClosedRange<Int> = 0...maximumInteger) throws(ModelHubError) -> Int {
        guard let integer = try integerIfPresent(key, in: range) else { throw absent(key, expected: "an integer") }
        return integer
    }

    package func integer(
        _ key: String, default fallback: Int, in range: ClosedRange<Int> = 0...maximumInteger
    ) throws(ModelHubError) -> Int {
        try integerIfPresent(key, in: range) ?? fallback
    }

    /// One integer or a list of them, as `eos_token_id` has it; nil where absent.
    package func integersIfPresent(_ key: String, in range: ClosedRange<Int> = 0...maximumInteger) throws(ModelHubError) -> [Int]? {
        guard let value = value(key) else { return nil }
        var integers: [Int] = []
        for element in value.arrayValue ?? [value] {
            guard let integer = element.integerValue, range.contains(integer) else {
                throw invalid(
                    key, expected: "an integer from \(range.lowerBound) to \(range.upperBound), or a list of such", found: element)
            }
            integers.append(integer)
        }
        return integers
    }

    // MARK: Numbers

    /// A finite number in `range`; nil where absent.
    package func numberIfPresent(
        _ key: String, in range: ClosedRange<Double> = -Double.greatestFiniteMagnitude...Double.greatestFiniteMagnitude
    ) throws(ModelHubError) -> Double? {
        guard let value = value(key) else { return nil }
        guard let number = value.doubleValue, number.isFinite, range.contains(number) else {
            let bound = range.upperBound == .greatestFiniteMagnitude ? "" : " and at most \(range.upperBound)"
            let expected =
                range.lowerBound == -Double.greatestFiniteMagnitude ? "a number" : "a number of at least \(range.lowerBound)\(bound)"
            throw invalid(key, expected: expected, found: value)
        }
        return number
    }

    package func number(_ key: String, default fallback: Double, in range: ClosedRange<Double>) throws(ModelHubError) -> Double {
        try numberIfPresent(key, in: range) ?? fallback
    }

    // MARK: Other types

    package func boolIfPresent(_ key: String) throws(ModelHubError) -> Bool? {
        guard let value = value(key) else { return nil }
        guard let bool = value.boolValue else { throw invalid(key, expected: "true or false", found: value) }
        return bool
    }

    package func bool(_ key: String, default fallback: Bool) throws(ModelHubError) -> Bool {
        try boolIfPresent(key) ?? fallback
    }

    package func stringIfPresent(_ key: String) throws(ModelHubError) -> String? {
        guard let value = value(key) else { return nil }
        guard let string = value.stringValue else { throw invalid(key, expected: "a string", found: value) }
        return string
    }

    /// The first of `keys` that is there.
    package func stringIfPresent(anyOf keys: [String]) throws(ModelHubError) -> String? {
        for key in keys {
            if let string = try stringIfPresent(key) { return string }
        }
        return nil
    }

    package func string(_ key: String) throws(ModelHubError) -> String {
        guard let string = try stringIfPresent(key) else { throw absent(key, expected: "a string") }
        return string
    }

    package func string(_ key: String, default fallback: String) throws(ModelHubError) -> String {
        try stringIfPresent(key) ?? fallback
    }

    /// A list of strings; nil where absent.
    package func stringsIfPresent(_ key: String) throws(ModelHubError) -> [String]? {
        guard let value = value(key) else { return nil }
        guard let elements = value.arrayValue else { throw invalid(key, expected: "a list of strings", found: value) }
        var strings: [String] = []
        for element in elements {
            guard let string = element.stringValue else { throw invalid(key, expected: "a list of strings", found: element) }
            strings.append(string)
        }
        return strings
    }

    /// The object at `key`, whose own messages name the way to it; nil where absent.
    package func objectIfPresent(_ key: String) throws(ModelHubError) -> ConfigurationObject? {
        guard let value = value(key) else { return nil }
        guard let members = value.objectValue else { throw invalid(key, expected: "an object", found: value) }
        return ConfigurationObject(file: file, members: members, prefix: prefix + key + ".")
    }

    // MARK: Errors

    package func invalid(_ key: String, expected: String, found: JSONValue) -> ModelHubError {
        ModelHubError(.invalidFile, "\(file): \"\(prefix)\(key)\" must be \(expected), found \(Self.show(found))")
    }

    package func absent(_ key: String, expected: String) -> ModelHubError {
        ModelHubError(.invalidFile, "\(file): \"\(prefix)\(key)\" is missing, expected \(expected)")
    }

    package func unsupported(_ key: String, _ value: String, supported: String) -> ModelHubError {
        ModelHubError(
            .unsupported, "\(file): \"\(prefix)\(key)\" is '\(Self.shorten(value))', which is not supported; supported: \(supported)")
    }

    static func show(_ value: JSONValue) -> String {
        switch value {
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .integer(let value): "\(value)"
        case .double(let value): "\(value)"
        case .string(let value): "the string \"\(shorten(value))\""
        case .array(let elements): "a list of \(elements.count)"
        case .object: "an object"
        }
    }

    static func shorten(_ text: String) -> String {
        text.count <= 60 ? text : text.prefix(57) + "..."
    }
}
