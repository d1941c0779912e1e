import OrderedCollections

/// The public attributes of Python's types. A name listed here hides an object's member behind a dot, whether or not calling it is supported.
enum MethodCatalog {
    static func names(of value: Value) -> Set<String> {
        switch value {
        case .string: text
        case .markup: text.union(["unescape", "striptags", "escape"])
        case .list: list
        case .tuple, .range: ["count", "index"]
        case .dict: dict
        case .bool, .int: ["as_integer_ratio", "bit_count", "bit_length", "conjugate", "from_bytes", "to_bytes"]
        case .double: ["as_integer_ratio", "conjugate", "fromhex", "hex", "is_integer"]
        default: []
        }
    }

    /// Those that would change their object, which the sandbox forbids.
    static func changing(_ value: Value) -> Set<String> {
        switch value {
        case .list: ["append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"]
        case .dict: ["clear", "pop", "popitem", "setdefault", "update"]
        default: []
        }
    }

    private static let text: Set<String> = [
        "capitalize", "casefold", "center", "count", "encode", "endswith", "expandtabs", "find", "format", "format_map", "index", "isalnum",
        "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric", "isprintable", "isspace", "istitle", "isupper",
        "join", "ljust", "lower", "lstrip", "maketrans", "partition", "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rjust",
        "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title", "translate", "upper", "zfill",
    ]
    private static let list: Set<String> = [
        "append", "clear", "copy", "count", "extend", "index", "insert", "pop", "remove", "reverse", "sort",
    ]
    private static let dict: Set<String> = [
        "clear", "copy", "fromkeys", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values",
    ]
}

extension Renderer {
    func callMethod(_ name: String, of receiver: Value, _ arguments: CallArguments) throws -> Value {
        switch receiver {
        case .string(let text): return try callTextMethod(name, text, arguments)
        case .markup(let text): return try callMarkupMethod(name, text, arguments)
        case .dict(let entries): return try callDictMethod(name, entries, arguments)
        case .list(let items), .tuple(let items): return try callListMethod(name, receiver, items.elements, arguments)
        case .range: return try callListMethod(name, receiver, elements(of: receiver), arguments)
        case .loop(let loop):
            guard arguments.named.isEmpty else { throw Failure.type("\(name)() got an unexpected keyword argument") }
            if name == "changed" { return .bool(try loop.changed(arguments.positional, self)) }
            guard !arguments.positional.isEmpty else { throw Failure.type("no items for cycling given") }
            return arguments.positional[max(0, loop.index0) % arguments.positional.count]
        case .cycler(let cycler):
            try arguments.expectNone(name)
            let item = cycler.items[cycler.position]
            cycler.position = name == "reset" ? 0 : (cycler.position + 1) % cycler.items.count
            return name == "reset" ? .null : item
        case .double(let number) where name == "is_integer":
            try arguments.expectNone(name)
            return .bool(number.isFinite && number == number.rounded())
        default: throw Failure.unsupported("the method '\(name)' of a \(receiver.typeName) is not supported")
        }
    }

    /// A safe text escapes the texts that are put into it and stays safe.
    private func callMarkupMethod(_ name: String, _ text: String, _ arguments: CallArguments) throws -> Value {
        var arguments = arguments
        switch name {
        case "capitalize", "title", "lower", "upper", "replace", "ljust", "rjust", "lstrip", "rstrip", "center", "strip", "expandtabs",
            "swapcase", "zfill", "casefold", "removeprefix", "removesuffix":
            arguments.positional = arguments.positional.map { if case .string(let text) = $0 { .string(text.markupEscaped) } else { $0 } }
        case "split", "rsplit", "splitlines", "partition", "rpartition", "startswith", "endswith", "find", "rfind", "index", "rindex", "count",
            "isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric", "isprintable", "isspace", "istitle",
            "isupper":
            break
        default: throw Failure.unsupported("the method '\(name)' of a safe text is not supported")
        }
        func safe(_ value: Value) -> Value { if case .string(let text) = value { .markup(text) } else { value } }
        switch try callTextMethod(name, text, arguments) {
        case .list(let items): return try .list(items.elements.map(safe))
        case .tuple(let items): return try .tuple(items.elements.map(safe))
        case let value: return safe(value)
        }
    }

    private func callDictMethod(_ name: String, _ entries: Entries, _ arguments: CallArguments) throws -> Value {
        switch name {
        case "get":
            let values = try arguments.bind(name, ["key", "default"], required: 1, keywords: false)
            return entries.storage[try Key(values[0] ?? .null)] ?? values[1] ?? .null
        case "keys", "values", "items":
            try arguments.expectNone(name)
            let kind: EntriesView.Kind = name == "keys" ? .keys : name == "values" ? .values : .items
            return .view(EntriesView(kind: kind, entries: entries))
        case "copy":
            try arguments.expectNone(name)
            return .dict(entries)
        default: throw Failure.unsupported("the method '\(name)' of a dict is not supported")
        }
    }

    private func callListMethod(_ name: String, _ receiver: Value, _ elements: [Value], _ arguments: CallArguments) throws -> Value {
        switch name {
        case "copy":
            try arguments.expectNone(name)
            return receiver
        case "count":
            let wanted = try arguments.bind(name, ["value"], required: 1, keywords: false)[0] ?? .null
            var count = 0
            for element in elements where try areEqual(element, wanted) { count += 1 }
            return .int(count)
        case "index":
            let isRange = if case .range = receiver { true } else { false }
            let values = try arguments.bind(name, isRange ? ["value"] : ["value", "start", "stop"], required: 1, keywords: false)
            let bounds = try isRange ? 0..<elements.count : searchRange(values[1], values[2], count: elements.count)
            for index in bounds where try areEqual(elements[index], values[0] ?? .null) { return .int(index) }
            throw Failure.value("the value is not in the \(receiver.typeName)")
        default: throw Failure.unsupported("the method '\(name)' of a \(receiver.typeName) is not supported")
        }
    }

    /// Where a search with Python's optional `start` and `stop` looks, clipped to the sequence.
    func searchRange(_ start: Value?, _ stop: Value?, count: Int) throws -> Range<Int> {
        let bounds = try Self.indices(count, start ?? .null, stop ?? .null, .null)
        return bounds.start..<max(bounds.start, bounds.stop)
    }
}
