typealias TemplateTest = @Sendable (Renderer, Value, CallArguments) throws -> Bool

/// Jinja's tests by name.
enum TestCatalog {
    static let table: [String: TemplateTest] = {
        var table: [String: TemplateTest] = [
            "defined": plain { !$0.isUndefined },
            "undefined": plain { $0.isUndefined },
            "none": plain { $0.isNull },
            "boolean": plain { if case .bool = $0 { true } else { false } },
            "true": plain { if case .bool(true) = $0 { true } else { false } },
            "false": plain { if case .bool(false) = $0 { true } else { false } },
            "integer": plain { if case .int = $0 { true } else { false } },
            "float": plain { if case .double = $0 { true } else { false } },
            "number": plain { if case .double = $0 { true } else { $0.index != nil } },
            "string": plain { $0.text != nil },
            "mapping": plain { if case .dict = $0 { true } else { false } },
            "iterable": plain(\.isIterable),
            "sequence": plain {
                switch $0 {
                case .string, .markup, .list, .tuple, .dict, .range, .undefined: true
                default: false
                }
            },
            "callable": plain {
                switch $0 {
                case .function, .macro, .method, .joiner, .loop, .undefined: true
                default: false
                }
            },
            "escaped": plain { if case .markup = $0 { true } else { false } },
            "lower": { renderer, value, arguments in
                try arguments.expectNone("lower")
                return try renderer.filterText(value).pythonHasOnlyCase(lower: true)
            },
            "upper": { renderer, value, arguments in
                try arguments.expectNone("upper")
                return try renderer.filterText(value).pythonHasOnlyCase(lower: false)
            },
            "odd": { try $0.hasRemainder($1, .int(2), 1, $2) },
            "even": { try $0.hasRemainder($1, .int(2), 0, $2) },
            "divisibleby": { renderer, value, arguments in
                let divisor = try arguments.bind("divisibleby", ["num"], required: 1)[0] ?? .null
                return try renderer.hasRemainder(value, divisor, 0, CallArguments())
            },
            "sameas": { renderer, value, arguments in
                try renderer.isSame(value, try arguments.bind("sameas", ["other"], required: 1)[0] ?? .null)
            },
            "in": { renderer, value, arguments in
                try renderer.contains(try arguments.bind("in", ["seq"], required: 1)[0] ?? .null, value)
            },
            "filter": { try $0.isKnown($1, $2, FilterCatalog.names) },
            "test": { try $0.isKnown($1, $2, TestCatalog.names) },
        ]
        for names in [["==", "eq", "equalto"]] { for name in names { table[name] = comparison { try $0.areEqual($1, $2) } } }
        for name in ["!=", "ne"] { table[name] = comparison { try !$0.areEqual($1, $2) } }
        for name in [">", "gt", "greaterthan"] { table[name] = comparison { try $0.isLess($2, $1, symbol: ">") } }
        for name in [">=", "ge"] { table[name] = comparison { try $0.isLess($2, $1, orEqual: true, symbol: ">=") } }
        for name in ["<", "lt", "lessthan"] { table[name] = comparison { try $0.isLess($1, $2) } }
        for name in ["<=", "le"] { table[name] = comparison { try $0.isLess($1, $2, orEqual: true, symbol: "<=") } }
        return table
    }()

    static let names = Set(table.keys)

    private static func plain(_ test: @escaping @Sendable (Value) -> Bool) -> TemplateTest {
        { _, value, arguments in
            try arguments.expectNone("the test")
            return test(value)
        }
    }

    private static func comparison(_ test: @escaping @Sendable (Renderer, Value, Value) throws -> Bool) -> TemplateTest {
        { renderer, value, arguments in
            try test(renderer, value, try arguments.bind("the comparison", ["other"], required: 1, keywords: false)[0] ?? .null)
        }
    }
}

extension Renderer {
    func applyTest(_ name: String, to value: Value, _ arguments: CallArguments) throws -> Bool {
        guard let test = TestCatalog.table[name] else { throw Failure(.syntax, "there is no test named '\(name)'") }
        return try test(self, value, arguments)
    }

    fileprivate func hasRemainder(_ value: Value, _ divisor: Value, _ remainder: Int, _ arguments: CallArguments) throws -> Bool {
        try arguments.expectNone("the test")
        return try areEqual(binary(.modulo, value, divisor), .int(remainder))
    }

    fileprivate func isKnown(_ value: Value, _ arguments: CallArguments, _ names: Set<String>) throws -> Bool {
        try arguments.expectNone("the test")
        guard case .string(let name) = try Key(value) else { return false }
        return names.contains(name)
    }

    /// Python's `is`, where it does not depend on how Python shares its objects.
    fileprivate func isSame(_ left: Value, _ right: Value) throws -> Bool {
        switch (left, right) {
        case (.null, .null): return true
        case (.bool(let left), .bool(let right)): return left == right
        case (.namespace(let left), .namespace(let right)): return left === right
        case (.undefined(let left), .undefined(let right)): return left === right
        case (.macro(let left), .macro(let right)): return left === right
        default:
            guard left.typeName != right.typeName else {
                throw Failure.unsupported("whether two \(left.typeName) values are the same object is not supported")
            }
            return false
        }
    }
}
