import OrderedCollections

extension FilterCatalog {
    static let sequences: [String: Filter] = [
        "length": { try $0.length($1, $2) },
        "count": { try $0.length($1, $2) },
        "first": { renderer, value, arguments in
            try arguments.expectNone("first")
            return try value.makeIterator().next() ?? .undefined(Undefined("No first item, sequence was empty."))
        },
        "last": { renderer, value, arguments in
            try arguments.expectNone("last")
            let iterator = try renderer.reversed(value)
            return try iterator.next() ?? .undefined(Undefined("No last item, sequence was empty."))
        },
        "default": { try $0.useDefault($1, $2) },
        "d": { try $0.useDefault($1, $2) },
        "join": { renderer, value, arguments in
            let values = try arguments.bind("join", ["d", "attribute"])
            let separator = try renderer.string(of: values[0] ?? .string(""))
            let path = try AttributePath(values[1] ?? .null)
            var texts: [String] = []
            let iterator = try value.makeIterator()
            while let element = try iterator.next() {
                let text = try renderer.string(of: path.value(of: element, renderer))
                try renderer.charge(textByteCount: text.utf8.count)
                texts.append(text)
            }
            return try renderer.paid(renderer.joined(texts, separator: separator))
        },
        "list": { renderer, value, arguments in
            try arguments.expectNone("list")
            return try .list(renderer.elements(of: value))
        },
        "reverse": { renderer, value, arguments in
            try arguments.expectNone("reverse")
            if let text = value.text {
                let reversed = String(scalars: text.unicodeScalars.reversed())
                try renderer.charge(textByteCount: reversed.utf8.count)
                if case .markup = value { return .markup(reversed) }
                return .string(reversed)
            }
            if case .iterator = value { return try .list(renderer.elements(of: value).reversed()) }
            return .iterator(try renderer.reversed(value))
        },
        "items": { renderer, value, arguments in
            try arguments.expectNone("items")
            return .iterator(
                try renderer.lazily(over: value) {
                    switch value {
                    case .undefined: return []
                    case .dict(let entries): return try EntriesView(kind: .items, entries: entries).elements
                    default: throw Failure.type("Can only get item pairs from a mapping.")
                    }
                })
        },
        "dictsort": { try $0.sortDict($1, $2) },
        "sort": { renderer, value, arguments in
            let values = try arguments.bind("sort", ["reverse", "case_sensitive", "attribute"])
            let paths = try AttributePath.list(values[2] ?? .null)
            let isCaseSensitive = try renderer.flag(values[1])
            return try renderer.sort(renderer.elements(of: value), isReversed: renderer.flag(values[0])) { element in
                try .list(paths.map { try renderer.sortKey($0.value(of: element, renderer), isCaseSensitive: isCaseSensitive) })
            }
        },
        "unique": { try $0.unique($1, $2) },
        "batch": { try $0.batch($1, $2) },
        "slice": { try $0.cutIntoSlices($1, $2) },
        "groupby": { try $0.group($1, $2) },
    ]
}

extension Renderer {
    fileprivate func length(_ value: Value, _ arguments: CallArguments) throws -> Value {
        try arguments.expectNone("length")
        if case .loop(let loop) = value { return .int(try loop.count(self)) }
        if let text = value.text { try charge(textByteCount: text.utf8.count) }
        guard let count = value.count else { throw Failure.type("object of type '\(value.typeName)' has no len()") }
        return .int(count)
    }

    fileprivate func useDefault(_ value: Value, _ arguments: CallArguments) throws -> Value {
        let values = try arguments.bind("default", ["default_value", "boolean"])
        if try value.isUndefined || (flag(values[1]) && !isTrue(value)) { return values[0] ?? .string("") }
        return value
    }

    /// Python's `reversed`.
    fileprivate func reversed(_ value: Value) throws -> LazyIterator {
        switch value {
        case .iterator, .loop: throw Failure.type("'\(value.typeName)' object is not reversible")
        default:
            guard value.isIterable else { throw Failure.type("'\(value.typeName)' object is not reversible") }
            let elements = try elements(of: value)
            var index = elements.count
            return try LazyIterator(over: [value]) {
                guard index > 0 else { return nil }
                index -= 1
                return elements[index]
            }
        }
    }

    /// An iterator over what `make` gives when the first element is asked for.
    func lazily(over source: Value, _ make: @escaping () throws -> [Value]) throws -> LazyIterator {
        var elements: [Value]?
        var index = 0
        return try LazyIterator(over: [source]) { [self] in
            if elements == nil { elements = try make() }
            guard let elements, index < elements.count else { return nil }
            try charge(1)
            defer { index += 1 }
            return elements[index]
        }
    }

    // MARK: Sorting

    /// Texts sort without regard to case unless asked otherwise.
    func sortKey(_ value: Value, isCaseSensitive: Bool) throws -> Value {
        guard !isCaseSensitive, let text = value.text else { return value }
        return try paid(text.pythonLowercased)
    }

    /// A stable merge sort whose comparison may fail.
    func sorted<Element>(_ elements: [Element], by isLess: (Renderer, Element, Element) throws -> Bool) throws -> [Element] {
        var current = elements
        var width = 1
        while width < current.count {
            var merged: [Element] = []
            merged.reserveCapacity(current.count)
            for start in stride(from: 0, to: current.count, by: 2 * width) {
                let (middle, end) = (min(start + width, current.count), min(start + 2 * width, current.count))
                var (left, right) = (start, middle)
                while left < middle, right < end {
                    try charge(1)
                    if try isLess(self, current[right], current[left]) {
                        merged.append(current[right])
                        right += 1
                    } else {
                        merged.append(current[left])
                        left += 1
                    }
                }
                merged += current[left..<middle]
                merged += current[right..<end]
            }
            current = merged
            width *= 2
        }
        return current
    }

    /// Sorts by a key; equal elements keep their order, from which Python does not depart in reverse either.
    fileprivate func sort(_ elements: [Value], isReversed: Bool, by key: (Value) throws -> Value) throws -> Value {
        let keyed = try elements.map { (key: try key($0), element: $0) }
        let result = try sorted(keyed) { renderer, left, right in
            try isReversed ? renderer.isLess(right.key, left.key) : renderer.isLess(left.key, right.key)
        }
        return try paidList(result.map(\.element))
    }

    fileprivate func sortDict(_ value: Value, _ arguments: CallArguments) throws -> Value {
        let values = try arguments.bind("dictsort", ["case_sensitive", "by", "reverse"])
        let by = values[1] ?? .string("key")
        guard by.text == "key" || by.text == "value" else { throw Failure.value("You can only sort by either \"key\" or \"value\"") }
        if case .undefined(let undefined) = value { throw undefined.failure }
        guard case .dict(let entries) = value else { throw Failure.type("'\(value.typeName)' object has no attribute 'items'") }
        let isCaseSensitive = try flag(values[0])
        return try sort(EntriesView(kind: .items, entries: entries).elements, isReversed: flag(values[2])) { pair in
            guard case .tuple(let items) = pair else { return pair }
            return try sortKey(items.elements[by.text == "key" ? 0 : 1], isCaseSensitive: isCaseSensitive)
        }
    }

    // MARK: Regrouping

    fileprivate func unique(_ value: Value, _ arguments: CallArguments) throws -> Value {
        let values = try arguments.bind("unique", ["case_sensitive", "attribute"])
        let isCaseSensitive = try flag(values[0])
        let path = try AttributePath(values[1] ?? .null)
        var seen: Set<Key> = []
        var iterator: LazyIterator?
        return .iterator(
            try LazyIterator(over: [value]) { [self] in
                if iterator == nil { iterator = try value.makeIterator() }
                while let element = try iterator?.next() {
                    try charge(1)
                    let key = try Key(sortKey(path.value(of: element, self), isCaseSensitive: isCaseSensitive))
                    if seen.insert(key).inserted { return element }
                }
                return nil
            })
    }

    fileprivate func batch(_ value: Value, _ arguments: CallArguments) throws -> Value {
        let values = try arguments.bind("batch", ["linecount", "fill_with"], required: 1)
        let size = values[0] ?? .null
        let fill = values[1] ?? .null
        var iterator: LazyIterator?
        var pending: [Value] = []
        return .iterator(
            try LazyIterator(over: [value, fill]) { [self] in
                if iterator == nil { iterator = try value.makeIterator() }
                while let element = try iterator?.next() {
                    try charge(1)
                    let isFull = try areEqual(.int(pending.count), size)
                    let full = pending
                    if isFull { pending = [] }
                    pending.append(element)
                    if isFull { return try .list(full) }
                }
                guard !pending.isEmpty else { return nil }
                if !fill.isNull, try isLess(.int(pending.count), size) {
                    let missing = try requiredInteger(size, 0) - pending.count
                    try charge(missing)
                    pending += Array(repeating: fill, count: missing)
                }
                defer { pending = [] }
                return try .list(pending)
            })
    }

    fileprivate func cutIntoSlices(_ value: Value, _ arguments: CallArguments) throws -> Value {
        let values = try arguments.bind("slice", ["slices", "fill_with"], required: 1)
        let fill = values[1] ?? .null
        var elements: [Value]?
        var (index, offset) = (0, 0)
        return .iterator(
            try LazyIterator(over: [value, fill]) { [self] in
                let count = try requiredInteger(values[0], 0)
                if elements == nil { elements = try self.elements(of: value) }
                guard let elements else { return nil }
                guard count != 0 else { throw Failure.value("integer division or modulo by zero") }
                guard index < count else { return nil }
                let (size, extra) = (elements.count / count, elements.count % count)
                let start = offset + index * size
                if index < extra { offset += 1 }
                var part = Array(elements[start..<offset + (index + 1) * size])
                if !fill.isNull, index >= extra { part.append(fill) }
                index += 1
                return try paidList(part)
            })
    }

    fileprivate func group(_ value: Value, _ arguments: CallArguments) throws -> Value {
        let values = try arguments.bind("groupby", ["attribute", "default", "case_sensitive"], required: 1)
        let path = try AttributePath(values[0] ?? .null, fallback: values[1] ?? .null)
        let isCaseSensitive = try flag(values[2])
        func key(_ element: Value) throws -> Value { try sortKey(path.value(of: element, self), isCaseSensitive: isCaseSensitive) }
        let keyed = try sorted(elements(of: value).map { (key: try key($0), element: $0) }) { try $0.isLess($1.key, $2.key) }
        var groups: [(key: Value, elements: [Value])] = []
        for (key, element) in keyed {
            if let last = groups.last, try areEqual(last.key, key) {
                groups[groups.count - 1].elements.append(element)
            } else {
                groups.append((key, [element]))
            }
        }
        return try paidList(
            groups.map { group in
                let shown = isCaseSensitive ? group.key : try path.value(of: group.elements[0], self)
                return try .tuple([shown, .list(group.elements)])
            })
    }
}
