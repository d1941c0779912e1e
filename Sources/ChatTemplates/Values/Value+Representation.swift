import OrderedCollections

/// Python's `str` and `repr`.
extension Renderer {
    /// What printing the value writes.
    func string(of value: Value) throws -> String {
        switch value {
        case .string(let text), .markup(let text): text
        case .undefined: ""
        default: try representation(of: value)
        }
    }

    func representation(of value: Value) throws -> String {
        var text = ""
        try append(value, to: &text)
        return text
    }

    private func append(_ value: Value, to text: inout String) throws {
        try charge(1)
        switch value {
        case .null: text += "None"
        case .bool(let value): text += value ? "True" : "False"
        case .int(let value): text += String(value)
        case .double(let value): text += value.pythonRepresentation
        case .string(let string):
            try charge(textByteCount: string.utf8.count)
            text += string.pythonRepresentation
        case .markup(let string):
            try charge(textByteCount: string.utf8.count)
            text += "Markup(\(string.pythonRepresentation))"
        case .undefined: text += "Undefined"
        case .list(let items): try append(items.elements, between: "[", "]", to: &text)
        case .tuple(let items): try append(items.elements, between: "(", items.elements.count == 1 ? ",)" : ")", to: &text)
        case .dict(let entries): try append(entries.storage.map { ($0.key.value, $0.value) }, to: &text)
        case .view(let view):
            text += view.kind.rawValue + "("
            try append(view.elements, between: "[", "]", to: &text)
            text += ")"
        case .range(let range): text += "range(\(range.start), \(range.stop)\(range.step == 1 ? "" : ", \(range.step)"))"
        case .namespace(let namespace):
            text += "<Namespace "
            let members = namespace.attributes.map { (Value.string($0.key), $0.value) }
            try deeper { try append(members, to: &text) }
            text += ">"
        case .macro(let macro): text += macro.name.map { "<Macro \($0.pythonRepresentation)>" } ?? "<Macro anonymous>"
        case .loop(let loop): text += "<LoopContext \(loop.index0 + 1)/\(try loop.count(self))>"
        case .iterator, .function, .method, .cycler, .joiner:
            throw Failure.unsupported("printing a \(value.typeName) object, which shows its address in Python, is not supported")
        }
    }

    private func append(_ elements: [Value], between open: String, _ close: String, to text: inout String) throws {
        text += open
        for (index, element) in elements.enumerated() {
            if index > 0 { text += ", " }
            try append(element, to: &text)
        }
        text += close
    }

    private func append(_ members: [(Value, Value)], to text: inout String) throws {
        text += "{"
        for (index, member) in members.enumerated() {
            if index > 0 { text += ", " }
            try append(member.0, to: &text)
            text += ": "
            try append(member.1, to: &text)
        }
        text += "}"
    }
}
