import OrderedCollections

extension FilterCatalog {
    static let text: [String: Filter] = [
        "upper": { try $0.changeCase("upper", $1, $2) },
        "lower": { try $0.changeCase("lower", $1, $2) },
        "capitalize": { try $0.changeCase("capitalize", $1, $2) },
        "title": { try $0.titleWords($1, $2) },
        "trim": { try $0.trim($1, $2) },
        "replace": { renderer, value, arguments in
            let values = try arguments.bind("replace", ["old", "new", "count"], required: 2)
            let limit: Value? = if case .some(.null) = values[2] { nil } else { values[2] }
            return try renderer.replace(
                renderer.filterText(value), renderer.string(of: values[0] ?? .null), renderer.string(of: values[1] ?? .null), limit)
        },
        "string": { renderer, value, arguments in
            try arguments.expectNone("string")
            if value.text != nil { return value }
            return try renderer.paid(renderer.string(of: value))
        },
        "safe": { renderer, value, arguments in
            try arguments.expectNone("safe")
            return .markup(try renderer.filterText(value))
        },
        "escape": { try $0.escape($1, $2, isForced: false) },
        "e": { try $0.escape($1, $2, isForced: false) },
        "forceescape": { try $0.escape($1, $2, isForced: true) },
        "indent": { try $0.indent($1, $2) },
        "center": { renderer, value, arguments in
            let width = try renderer.requiredInteger(try arguments.bind("center", ["width"])[0], 80)
            return try renderer.like(value, renderer.padded(renderer.filterText(value), to: width, with: " ", "center"))
        },
        "wordcount": { renderer, value, arguments in
            try arguments.expectNone("wordcount")
            var (count, isInWord) = (0, false)
            for scalar in try renderer.filterText(value).unicodeScalars {
                let isWord = scalar.isPythonAlphanumeric || scalar == "_"
                if isWord, !isInWord { count += 1 }
                isInWord = isWord
            }
            return .int(count)
        },
        "truncate": { try $0.truncate($1, $2) },
        "format": { renderer, value, arguments in
            if case .markup = value { throw Failure.unsupported("formatting a safe text is not supported") }
            guard arguments.named.isEmpty else {
                guard arguments.positional.isEmpty else { throw Failure.value("can't handle positional and keyword arguments at the same time") }
                var storage: OrderedDictionary<Key, Value> = [:]
                for (name, value) in arguments.named { storage[.string(name)] = value }
                return try renderer.formatted(renderer.filterText(value), with: .dict(storage))
            }
            return try renderer.formatted(renderer.filterText(value), with: .tuple(arguments.positional))
        },
        "tojson": { renderer, value, arguments in
            let values = try arguments.bind("tojson", ["ensure_ascii", "indent", "separators", "sort_keys"])
            var writer = try JSONWriter(
                renderer, escapesNonASCII: renderer.flag(values[0]), indent: values[1] ?? .null, separators: values[2] ?? .null,
                sortsKeys: renderer.flag(values[3]))
            try writer.write(value, level: 0)
            return .string(writer.text)
        },
    ]
}

extension Renderer {
    fileprivate func changeCase(_ name: String, _ value: Value, _ arguments: CallArguments) throws -> Value {
        try arguments.expectNone(name)
        return try like(value, changedCase(filterText(value), name))
    }

    /// Jinja's own notion of words: they begin behind white space and behind `-({[<`.
    fileprivate func titleWords(_ value: Value, _ arguments: CallArguments) throws -> Value {
        try arguments.expectNone("title")
        var result = ""
        var word = ""
        func flush() {
            let scalars = word.unicodeScalars
            if let first = scalars.first {
                result += String(first).pythonUppercased + String(scalars: scalars.dropFirst()).pythonLowercased
            }
            word = ""
        }
        for scalar in try filterText(value).unicodeScalars {
            if scalar.isPythonWhitespace || "-({[<".unicodeScalars.contains(scalar) {
                flush()
                result.unicodeScalars.append(scalar)
            } else {
                word.unicodeScalars.append(scalar)
            }
        }
        flush()
        return try paid(result)
    }

    fileprivate func trim(_ value: Value, _ arguments: CallArguments) throws -> Value {
        let characters = try arguments.bind("trim", ["chars"])[0]
        var set: String?
        if let characters, !characters.isNull { set = try requiredText(characters, "strip") }
        return try like(value, filterText(value).stripped(set))
    }

    fileprivate func escape(_ value: Value, _ arguments: CallArguments, isForced: Bool) throws -> Value {
        try arguments.expectNone("escape")
        if case .markup = value, !isForced { return value }
        let text = try filterText(value).markupEscaped
        try charge(textByteCount: text.utf8.count)
        return .markup(text)
    }

    fileprivate func indent(_ value: Value, _ arguments: CallArguments) throws -> Value {
        let values = try arguments.bind("indent", ["width", "first", "blank"])
        if case .undefined(let undefined) = value { throw undefined.failure }
        guard case .string(let text) = value else {
            if case .markup = value { throw Failure.unsupported("indenting a safe text is not supported") }
            throw Failure.type("unsupported operand type(s) for +=: '\(value.typeName)' and 'str'")
        }
        var indentation: String
        switch values[0] {
        case .string(let text)?: indentation = text
        case .markup?: throw Failure.unsupported("indenting by a safe text is not supported")
        case let width:
            let count = try requiredInteger(width, 4)
            try charge(textByteCount: count)
            indentation = String(repeating: " ", count: max(0, count))
        }
        // Splitting looks at every character, which costs more than copying them.
        try charge(text.utf8.count / 2)
        let lines = (text + "\n").splitLines()
        try charge(lines.count * (indentation.utf8.count / 16 + 1))
        var result = lines[0]
        let indentsBlank = try flag(values[2])
        for line in lines.dropFirst() {
            result += "\n"
            if indentsBlank || !line.isEmpty { result += indentation }
            result += line
        }
        return try paid(try flag(values[1]) ? indentation + result : result)
    }

    fileprivate func truncate(_ value: Value, _ arguments: CallArguments) throws -> Value {
        let values = try arguments.bind("truncate", ["length", "killwords", "end", "leeway"])
        guard case .string(let text) = value else { throw Failure.unsupported("truncating a \(value.typeName) is not supported") }
        let length = try requiredInteger(values[0], 255)
        let end = try values[2].map { try requiredText($0, "truncate") } ?? "..."
        var leeway = 5
        if let value = values[3], !value.isNull { leeway = try requiredInteger(value, 5) }
        guard length >= end.scalarCount, leeway >= 0 else { throw Failure.value("the length to truncate to is shorter than its end mark") }
        let scalars = Array(text.unicodeScalars)
        let (longest, overflow) = length.addingReportingOverflow(leeway)
        if overflow || scalars.count <= longest { return value }
        let head = String(scalars: scalars.prefix(length - end.scalarCount))
        if try flag(values[1]) { return try paid(head + end) }
        return try paid(head.split(by: " ", limit: 1, fromEnd: true)[0] + end)
    }
}
