typealias Filter = @Sendable (Renderer, Value, CallArguments) throws -> Value

/// Jinja's filters by name, with `tojson` as chat templates have it.
enum FilterCatalog {
    static let table: [String: Filter] = text.merging(numbers) { $1 }.merging(sequences) { $1 }.merging(selection) { $1 }
        .merging(unsupported) { $1 }

    static let names = Set(table.keys)

    /// Filters that Jinja never computes while compiling.
    static let needsContext: Set<String> = ["map", "select", "reject", "selectattr", "rejectattr", "random"]

    /// Known to Jinja and not to this engine. Naming one is fine, running it is an error.
    private static let unsupported: [String: Filter] = {
        let names = ["filesizeformat", "pprint", "random", "striptags", "truncate", "urlencode", "urlize", "wordwrap", "xmlattr"]
        var table: [String: Filter] = [:]
        for name in names { table[name] = { _, _, _ in throw Failure.unsupported("the filter '\(name)' is not supported") } }
        table["truncate"] = nil
        return table
    }()
}

extension Renderer {
    func applyFilter(_ name: String, to value: Value, _ arguments: CallArguments) throws -> Value {
        guard let filter = FilterCatalog.table[name] else { throw Failure(.syntax, "there is no filter named '\(name)'") }
        return try filter(self, value, arguments)
    }

    /// The text that a filter works on: what printing the value gives.
    func filterText(_ value: Value) throws -> String {
        let text = try string(of: value)
        try charge(textByteCount: text.utf8.count)
        return text
    }

    /// `text`, marked safe where `source` was.
    func like(_ source: Value, _ text: String) throws -> Value {
        try charge(textByteCount: text.utf8.count)
        if case .markup = source { return .markup(text) }
        return .string(text)
    }

    func flag(_ value: Value?) throws -> Bool { try value.map { try isTrue($0) } ?? false }

    func requiredInteger(_ value: Value?, _ fallback: Int) throws -> Int {
        guard let value else { return fallback }
        if case .undefined(let undefined) = value { throw undefined.failure }
        guard let index = value.index else { throw Failure.type("'\(value.typeName)' object cannot be interpreted as an integer") }
        return index
    }
}
