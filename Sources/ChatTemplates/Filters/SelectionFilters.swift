extension FilterCatalog {
    static let selection: [String: Filter] = [
        "map": { try $0.map($1, $2) },
        "select": { try $0.select($1, $2, keeps: true, byAttribute: false) },
        "reject": { try $0.select($1, $2, keeps: false, byAttribute: false) },
        "selectattr": { try $0.select($1, $2, keeps: true, byAttribute: true) },
        "rejectattr": { try $0.select($1, $2, keeps: false, byAttribute: true) },
        "attr": { renderer, value, arguments in
            let name = try arguments.bind("attr", ["name"], required: 1)[0] ?? .null
            guard let text = name.text else { throw Failure.type("attribute name must be string, not '\(name.typeName)'") }
            if case .undefined(let undefined) = value { throw undefined.failure }
            return try renderer.ownAttribute(text, of: value) ?? Renderer.missing(text, of: value)
        },
    ]
}

extension Renderer {
    /// Applies a filter to every element or takes an attribute of each.
    fileprivate func map(_ value: Value, _ arguments: CallArguments) throws -> Value {
        var transform: ((Value) throws -> Value)?
        return try transformed(value) { [self] element in
            if transform == nil { transform = try makeTransform(arguments) }
            return try transform?(element)
        }
    }

    private func makeTransform(_ arguments: CallArguments) throws -> (Value) throws -> Value {
        var arguments = arguments
        if arguments.positional.isEmpty, let attribute = arguments.removeNamed("attribute") {
            let fallback = arguments.removeNamed("default") ?? .null
            if let extra = arguments.named.first { throw Failure.value("Unexpected keyword argument '\(extra.name)'") }
            let path = try AttributePath(attribute, fallback: fallback)
            return { [self] in try path.value(of: $0, self) }
        }
        guard !arguments.positional.isEmpty else { throw Failure.value("map requires a filter argument") }
        let name = try filterOrTestName(arguments.positional.removeFirst(), "filter")
        return { [self, arguments] in try applyFilter(name, to: $0, arguments) }
    }

    private func filterOrTestName(_ value: Value, _ kind: String) throws -> String {
        guard let name = value.text else { throw Failure.type("there is no \(kind) named \(try representation(of: value))") }
        return name
    }

    /// Keeps the elements, or drops them, for which a test holds; without one, those that are true.
    fileprivate func select(_ value: Value, _ arguments: CallArguments, keeps: Bool, byAttribute: Bool) throws -> Value {
        var test: ((Value) throws -> Bool)?
        return try transformed(value) { [self] element in
            if test == nil { test = try makeTest(arguments, byAttribute: byAttribute) }
            return try test?(element) == keeps ? element : nil
        }
    }

    private func makeTest(_ arguments: CallArguments, byAttribute: Bool) throws -> (Value) throws -> Bool {
        var arguments = arguments
        var path = try AttributePath(.null)
        if byAttribute {
            guard !arguments.positional.isEmpty else { throw Failure.value("Missing parameter for attribute name") }
            path = try AttributePath(arguments.positional.removeFirst())
        }
        guard !arguments.positional.isEmpty else { return { [self, path] in try isTrue(path.value(of: $0, self)) } }
        let name = try filterOrTestName(arguments.positional.removeFirst(), "test")
        return { [self, path, arguments] in try applyTest(name, to: path.value(of: $0, self), arguments) }
    }

    /// An iterator over what `body` makes of each element, leaving out nil. Nothing happens before the first is asked for.
    private func transformed(_ value: Value, _ body: @escaping (Value) throws -> Value?) throws -> Value {
        var iterator: LazyIterator?
        var hasStarted = false
        return .iterator(
            try LazyIterator(over: [value]) { [self] in
                if !hasStarted {
                    hasStarted = true
                    // What is empty or false gives nothing, be it iterable or not.
                    guard try isTrue(value) else { return nil }
                    iterator = try value.makeIterator()
                }
                while let element = try iterator?.next() {
                    try charge(1)
                    if let result = try body(element) { return result }
                }
                return nil
            })
    }
}

/// Where a filter finds the attribute that it was told to use: `"a.b.0"`, a number, or nothing for the element itself.
struct AttributePath {
    private let parts: [Value]
    private let fallback: Value

    init(_ value: Value, fallback: Value = .null) throws {
        self.fallback = fallback
        switch value {
        case .null: parts = []
        case .string(let text), .markup(let text):
            parts = try text.split(by: ".", limit: .max).map { part in
                let isNumber = !part.isEmpty && part.unicodeScalars.allSatisfy(\.isPythonDigit)
                guard isNumber else { return .string(part) }
                guard let index = Int(part) else { throw Failure.integerRange }
                return .int(index)
            }
        default: parts = [value]
        }
    }

    /// Several paths behind commas.
    static func list(_ value: Value) throws -> [AttributePath] {
        guard let text = value.text else { return [try AttributePath(value)] }
        return try text.split(by: ",", limit: .max).map { try AttributePath(.string($0)) }
    }

    func value(of element: Value, _ renderer: Renderer) throws -> Value {
        var value = element
        for part in parts {
            value = try renderer.item(part, of: value)
            if !fallback.isNull, value.isUndefined { value = fallback }
        }
        return value
    }
}
