import OrderedCollections

/// `value.name` and `value[key]` as Jinja's sandbox resolves them.
///
/// A dot asks for the attribute first and the item then, brackets the other way round; what is found by neither is undefined, not an error. A
/// dictionary's own methods thus hide members of the same name behind a dot.
extension Renderer {
    func attribute(_ name: String, of value: Value) throws -> Value {
        if let found = try ownAttribute(name, of: value) { return found }
        if case .dict(let entries) = value, let member = entries.storage[.string(name)] { return member }
        return Self.missing(name, of: value)
    }

    func item(_ key: Value, of value: Value) throws -> Value {
        if let found = try directItem(key, of: value) { return found }
        if let name = key.text {
            if let found = try ownAttribute(name, of: value) { return found }
            return Self.missing(name, of: value)
        }
        return .undefined(Undefined("\(Self.describe(value)) has no element \(try representation(of: key))"))
    }

    private func directItem(_ key: Value, of value: Value) throws -> Value? {
        switch value {
        case .undefined(let undefined): throw undefined.failure
        case .dict(let entries):
            do {
                return entries.storage[try Key(key)]
            } catch let failure as Failure where failure.code == .type {
                return nil
            }
        case .list(let items), .tuple(let items): return Self.element(items.elements, key)
        case .string(let text), .markup(let text):
            guard let index = key.index else { return nil }
            try charge(textByteCount: text.utf8.count)
            let scalars = text.unicodeScalars
            let count = scalars.count
            let position = index < 0 ? index + count : index
            guard position >= 0, position < count else { return nil }
            let character = String(scalars[scalars.index(scalars.startIndex, offsetBy: position)])
            if case .markup = value { return .markup(character) }
            return .string(character)
        case .range(let range):
            guard let index = key.index else { return nil }
            let position = index < 0 ? index + range.count : index
            return position >= 0 && position < range.count ? .int(range[position]) : nil
        default: return nil
        }
    }

    private static func element(_ elements: [Value], _ key: Value) -> Value? {
        guard let index = key.index else { return nil }
        let position = index < 0 ? index + elements.count : index
        return position >= 0 && position < elements.count ? elements[position] : nil
    }

    static func missing(_ name: String, of value: Value) -> Value {
        .undefined(Undefined("'\(describe(value))' has no attribute '\(name)'"))
    }

    private static func describe(_ value: Value) -> String {
        if case .null = value { "None" } else { "\(value.typeName) object" }
    }

    // MARK: Attributes

    /// An attribute of the Python object itself, nil where it has none of that name.
    func ownAttribute(_ name: String, of value: Value) throws -> Value? {
        if case .undefined(let undefined) = value { throw undefined.failure }
        // No attribute has so long a name, and String's comparisons take their time over a long run of combining marks.
        if name.utf8.count > 64 {
            guard case .namespace(let namespace) = value else { return nil }
            return namespace.attributes[name]
        }
        // Every object has some, all are private, and only a key of an object could bear such a name.
        if name.hasPrefix("__"), name.hasSuffix("__"), Self.privateAttributes.contains(name) { return Self.unsafe(name, of: value) }
        switch value {
        case .loop(let loop): return try loop.member(name, self)
        case .namespace(let namespace): return namespace.attributes[name]
        case .macro(let macro): return try macro.member(name)
        case .cycler(let cycler):
            switch name {
            case "current": return cycler.items[cycler.position]
            case "pos": return .int(cycler.position)
            case "items": return try .tuple(cycler.items)
            case "next", "reset": return .method(BoundMethod(value, name))
            default: return nil
            }
        case .joiner(let joiner):
            return name == "sep" ? joiner.separator : name == "used" ? .bool(joiner.isUsed) : nil
        case .bool, .int:
            switch name {
            case "real", "numerator": return .int(value.index ?? 0)
            case "imag": return .int(0)
            case "denominator": return .int(1)
            default: break
            }
        case .double:
            if name == "real" { return value }
            if name == "imag" { return .double(0) }
        case .range(let range):
            switch name {
            case "start": return .int(range.start)
            case "stop": return .int(range.stop)
            case "step": return .int(range.step)
            default: break
            }
        case .iterator, .view:
            throw Failure.unsupported("an attribute of a \(value.typeName) object is not supported")
        default: break
        }
        let names = MethodCatalog.names(of: value)
        guard names.contains(name) else { return nil }
        return MethodCatalog.changing(value).contains(name) ? Self.unsafe(name, of: value) : .method(BoundMethod(value, name))
    }

    private static func unsafe(_ name: String, of value: Value) -> Value {
        .undefined(Undefined("access to attribute '\(name)' of '\(value.typeName)' object is unsafe", code: .security))
    }

    private static let privateAttributes: Set<String> = [
        "__class__", "__contains__", "__delattr__", "__dir__", "__doc__", "__eq__", "__format__", "__ge__", "__getattribute__", "__getitem__",
        "__getstate__", "__gt__", "__hash__", "__init__", "__init_subclass__", "__iter__", "__le__", "__len__", "__lt__", "__ne__", "__new__",
        "__reduce__", "__reduce_ex__", "__repr__", "__setattr__", "__sizeof__", "__str__", "__subclasshook__",
    ]

    // MARK: Slices

    func slice(_ value: Value, _ start: Value, _ stop: Value, _ step: Value) throws -> Value {
        switch value {
        case .undefined(let undefined): throw undefined.failure
        case .list(let items): return try .list(try pick(items.elements, start, stop, step))
        case .tuple(let items): return try .tuple(try pick(items.elements, start, stop, step))
        case .string(let text), .markup(let text):
            try charge(textByteCount: text.utf8.count)
            let result = String(scalars: try pick(Array(text.unicodeScalars), start, stop, step))
            if case .markup = value { return .markup(result) }
            return .string(result)
        case .range(let range):
            let picked = try Self.indices(range.count, start, stop, step)
            let product = range.step.multipliedReportingOverflow(by: picked.step)
            guard !product.overflow else { throw Failure.integerRange }
            let count = picked.count
            let first = range.start &+ picked.start &* range.step
            return .range(IntegerRange(start: first, stop: range.start &+ picked.stop &* range.step, step: product.partialValue, count: count))
        case .dict: throw Failure.type("unhashable type: 'slice'")
        default: throw Failure.type("'\(value.typeName)' object is not subscriptable")
        }
    }

    private func pick<Element>(_ elements: [Element], _ start: Value, _ stop: Value, _ step: Value) throws -> [Element] {
        let picked = try Self.indices(elements.count, start, stop, step)
        try charge(picked.count)
        if picked.step == 1 { return picked.count == 0 ? [] : Array(elements[picked.start..<picked.start + picked.count]) }
        return (0..<picked.count).map { elements[picked.start + $0 * picked.step] }
    }

    /// What Python's `slice.indices` gives for a sequence of `count` elements.
    static func indices(_ count: Int, _ start: Value, _ stop: Value, _ step: Value) throws -> (start: Int, stop: Int, step: Int, count: Int) {
        func bound(_ value: Value) throws -> Int? {
            if value.isNull { return nil }
            guard let index = value.index else { throw Failure.type("slice indices must be integers or None or have an __index__ method") }
            return index
        }
        let stride = try bound(step) ?? 1
        guard stride != 0 else { throw Failure.value("slice step cannot be zero") }
        let (lowest, highest) = stride > 0 ? (0, count) : (-1, count - 1)
        func clamped(_ index: Int) -> Int { index < 0 ? max(index + count, lowest) : min(index, highest) }
        let first = try bound(start).map(clamped) ?? (stride > 0 ? lowest : highest)
        let end = try bound(stop).map(clamped) ?? (stride > 0 ? highest : lowest)
        let distance = stride > 0 ? end - first : first - end
        // A stride longer than the sequence takes one element, however long it is; cut short, it can be negated.
        let picked = distance > 0 ? (distance - 1) / (stride > 0 ? stride : -max(stride, -count - 1)) + 1 : 0
        return (first, end, stride, picked)
    }
}
