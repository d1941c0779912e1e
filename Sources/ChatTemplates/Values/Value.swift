import JSON
import OrderedCollections

/// What a template expression evaluates to: Python's types as far as templates meet them.
///
/// Lists and objects never change once made, as in Jinja's immutable sandbox; only namespaces, iterators and cyclers have state.
enum Value {
    case null
    case bool(Bool)
    case int(Int)
    case double(Double)
    case string(String)
    /// A text marked safe for HTML, which `safe` and `escape` make.
    case markup(String)
    case list(Items)
    case tuple(Items)
    case dict(Entries)
    case undefined(Undefined)
    case range(IntegerRange)
    case view(EntriesView)
    case iterator(LazyIterator)
    case namespace(Namespace)
    case macro(Macro)
    case function(GlobalFunction)
    case method(BoundMethod)
    case loop(LoopContext)
    case cycler(Cycler)
    case joiner(Joiner)
}

/// The elements of a list or tuple, with how deep they nest.
struct Items {
    let elements: [Value]
    let depth: Int

    init(_ elements: [Value]) throws {
        self.elements = elements
        depth = try Value.depth(containing: elements)
    }
}

/// The members of an object in the order of their keys' first appearance.
final class Entries {
    let storage: OrderedDictionary<Key, Value>
    let depth: Int

    init(_ storage: OrderedDictionary<Key, Value>) throws {
        self.storage = storage
        depth = try Value.depth(containing: storage.values)
    }
}

/// What `keys()`, `values()` and `items()` return.
struct EntriesView {
    enum Kind: String { case keys = "dict_keys", values = "dict_values", items = "dict_items" }
    let kind: Kind
    let entries: Entries
}

final class IntegerRange {
    let start: Int
    let stop: Int
    let step: Int
    let count: Int

    /// `step` must not be zero and the range must fit the limit, which ``GlobalFunction`` checks.
    init(start: Int, stop: Int, step: Int, count: Int) {
        self.start = start
        self.stop = stop
        self.step = step
        self.count = count
    }

    subscript(index: Int) -> Int { start &+ index &* step }
}

/// What a name or member that is missing evaluates to, with the message that using it gives.
final class Undefined {
    let message: String
    let code: ChatTemplateError.Code

    init(_ message: String, code: ChatTemplateError.Code = .undefined) {
        self.message = message
        self.code = code
    }

    var failure: Failure { Failure(code, message) }
}

/// `namespace(...)`: the one kind of object that a template may change.
final class Namespace {
    var attributes: OrderedDictionary<String, Value>

    init(_ attributes: OrderedDictionary<String, Value>) { self.attributes = attributes }
}

/// A method taken from a value, such as `text.split`.
final class BoundMethod {
    let receiver: Value
    let name: String

    init(_ receiver: Value, _ name: String) {
        self.receiver = receiver
        self.name = name
    }
}

final class Cycler {
    let items: [Value]
    var position = 0

    init(_ items: [Value]) { self.items = items }
}

final class Joiner {
    let separator: Value
    var isUsed = false

    init(_ separator: Value) { self.separator = separator }
}

// MARK: - Making values

extension Value {
    static func list(_ elements: [Value]) throws -> Value { .list(try Items(elements)) }
    static func tuple(_ elements: [Value]) throws -> Value { .tuple(try Items(elements)) }
    static func dict(_ storage: OrderedDictionary<Key, Value>) throws -> Value { .dict(try Entries(storage)) }

    /// Nesting is bounded because everything that walks a value, its release included, walks it recursively.
    static func depth(containing elements: some Collection<Value>) throws -> Int {
        var deepest = 0
        for element in elements { deepest = max(deepest, element.depth) }
        guard deepest < TemplateLimits.valueDepth else {
            throw Failure.limit("lists and objects nest deeper than \(TemplateLimits.valueDepth) levels")
        }
        return deepest + 1
    }

    var depth: Int {
        switch self {
        case .list(let items), .tuple(let items): items.depth
        case .dict(let entries): entries.depth
        case .view(let view): view.entries.depth
        case .iterator(let iterator): iterator.depth
        case .method(let method): method.receiver.depth + 1
        default: 0
        }
    }

    init(_ json: JSONValue, level: Int = 0) throws {
        guard level <= TemplateLimits.valueDepth else {
            throw Failure(.context, "the messages or variables nest deeper than \(TemplateLimits.valueDepth) levels")
        }
        switch json {
        case .null: self = .null
        case .bool(let value): self = .bool(value)
        case .integer(let value): self = .int(value)
        case .double(let value): self = .double(value)
        case .string(let value): self = .string(value)
        case .array(let elements):
            self = try .list(elements.map { try Value($0, level: level + 1) })
        case .object(let members):
            var storage = OrderedDictionary<Key, Value>(minimumCapacity: members.count)
            for (key, value) in members { storage[.string(key)] = try Value(value, level: level + 1) }
            self = try .dict(storage)
        }
    }
}

// MARK: - Asking values

extension Value {
    /// Python's name of the type, for messages.
    var typeName: String {
        switch self {
        case .null: "NoneType"
        case .bool: "bool"
        case .int: "int"
        case .double: "float"
        case .string: "str"
        case .markup: "Markup"
        case .list: "list"
        case .tuple: "tuple"
        case .dict: "dict"
        case .undefined: "Undefined"
        case .range: "range"
        case .view(let view): view.kind.rawValue
        case .iterator: "iterator"
        case .namespace: "namespace"
        case .macro: "macro"
        case .function, .method: "function"
        case .loop: "loop"
        case .cycler: "cycler"
        case .joiner: "joiner"
        }
    }

    /// The text of a `str`, which safe text is too.
    var text: String? {
        switch self {
        case .string(let text), .markup(let text): text
        default: nil
        }
    }

    /// The whole number that Python takes for an index: an `int`, or a `bool`, which is one too.
    var index: Int? {
        switch self {
        case .int(let value): value
        case .bool(let value): value ? 1 : 0
        default: nil
        }
    }

    var isUndefined: Bool { if case .undefined = self { true } else { false } }
    var isNull: Bool { if case .null = self { true } else { false } }

    /// Whether `if` takes it for true.
    var isTruthy: Bool {
        switch self {
        case .null, .undefined: false
        case .bool(let value): value
        case .int(let value): value != 0
        case .double(let value): value != 0
        case .string(let text), .markup(let text): !text.isEmpty
        case .list(let items), .tuple(let items): !items.elements.isEmpty
        case .dict(let entries): !entries.storage.isEmpty
        case .view(let view): !view.entries.storage.isEmpty
        case .range(let range): range.count > 0
        default: true
        }
    }
}
