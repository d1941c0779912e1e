import OrderedCollections

/// Something that yields values once: what `map`, `select`, `reverse` and their like return, and what a loop draws from.
///
/// Laziness shows: a filter's error appears when its element is drawn, and the second loop over one iterator finds it empty.
final class LazyIterator {
    private var produce: () throws -> Value?
    private var isFinished = false
    /// How many iterators and lists hang below, because drawing a value recurses through them.
    let depth: Int

    init(over sources: [Value] = [], _ produce: @escaping () throws -> Value?) throws {
        self.produce = produce
        depth = try Value.depth(containing: sources)
    }

    func next() throws -> Value? {
        guard !isFinished else { return nil }
        do {
            if let value = try produce() { return value }
        } catch {
            finish()
            throw error
        }
        finish()
        return nil
    }

    private func finish() {
        isFinished = true
        produce = { nil }
    }
}

extension Value {
    /// The number of elements, or nil where Python's `len` raises a `TypeError`.
    var count: Int? {
        switch self {
        case .string(let text), .markup(let text): text.scalarCount
        case .list(let items), .tuple(let items): items.elements.count
        case .dict(let entries): entries.storage.count
        case .view(let view): view.entries.storage.count
        case .range(let range): range.count
        case .undefined: 0
        default: nil
        }
    }

    /// All elements of what is finite and at hand; nil for iterators, which must be drawn, and for what cannot be iterated.
    var elementsAtHand: [Value]? {
        switch self {
        case .string(let text), .markup(let text): text.unicodeScalars.map { .string(String($0)) }
        case .list(let items), .tuple(let items): items.elements
        case .dict(let entries): entries.storage.keys.map(\.value)
        case .view(let view): try? view.elements
        case .range(let range): (0..<range.count).map { .int(range[$0]) }
        case .undefined: []
        default: nil
        }
    }

    /// Python's `iter`.
    func makeIterator() throws -> LazyIterator {
        if case .iterator(let iterator) = self { return iterator }
        if case .loop = self { throw Failure.unsupported("looping over the loop object is not supported") }
        if case .list(let items) = self {
            var index = 0
            return try LazyIterator(over: [self]) {
                guard index < items.elements.count else { return nil }
                defer { index += 1 }
                return items.elements[index]
            }
        }
        guard let elements = elementsAtHand else { throw Failure.type("'\(typeName)' object is not iterable") }
        var index = 0
        return try LazyIterator(over: elements.isEmpty ? [] : [self]) {
            guard index < elements.count else { return nil }
            defer { index += 1 }
            return elements[index]
        }
    }

    /// Whether `iter` would take it.
    var isIterable: Bool {
        switch self {
        case .string, .markup, .list, .tuple, .dict, .view, .range, .undefined, .iterator, .loop: true
        default: false
        }
    }
}

extension EntriesView {
    var elements: [Value] {
        get throws {
            switch kind {
            case .keys: entries.storage.keys.map(\.value)
            case .values: Array(entries.storage.values)
            case .items: try entries.storage.map { try .tuple([$0.key.value, $0.value]) }
            }
        }
    }
}
