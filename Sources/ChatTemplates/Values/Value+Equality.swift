import OrderedCollections

/// Python's `==`, `in` and `<`. The renderer charges its step budget for every pair that is compared.
extension Renderer {
    func areEqual(_ left: Value, _ right: Value) throws -> Bool {
        try charge(1)
        switch (left, right) {
        case (.null, .null): return true
        case (.undefined, .undefined): return true
        case (.bool, .bool), (.bool, .int), (.int, .bool), (.int, .int): return left.index == right.index
        case (.double(let left), .double(let right)): return left == right
        case (.double(let double), _):
            guard let integer = right.index else { return false }
            return Int(exactly: double) == integer
        case (_, .double(let double)):
            guard let integer = left.index else { return false }
            return Int(exactly: double) == integer
        case (.list(let left), .list(let right)), (.tuple(let left), .tuple(let right)):
            guard left.elements.count == right.elements.count else { return false }
            for (left, right) in zip(left.elements, right.elements) where try !areEqual(left, right) { return false }
            return true
        case (.dict(let left), .dict(let right)):
            guard left.storage.count == right.storage.count else { return false }
            for (key, value) in left.storage {
                guard let other = right.storage[key], try areEqual(value, other) else { return false }
            }
            return true
        case (.range(let left), .range(let right)):
            guard left.count == right.count else { return false }
            return left.count == 0 || (left.start == right.start && (left.count == 1 || left.step == right.step))
        case (.namespace(let left), .namespace(let right)): return left === right
        case (.macro(let left), .macro(let right)): return left === right
        case (.view, .view), (.method, .method), (.function, .function), (.iterator, .iterator), (.loop, .loop):
            throw Failure.unsupported("comparing two \(left.typeName) objects is not supported")
        default:
            guard let left = left.text, let right = right.text else { return false }
            try charge(min(left.utf8.count, right.utf8.count) / 16)
            return left.isIdentical(to: right)
        }
    }

    /// `left < right`, or `left <= right` where `orEqual` is set.
    func isLess(_ left: Value, _ right: Value, orEqual: Bool = false, symbol: String = "<") throws -> Bool {
        try charge(1)
        switch (left, right) {
        case (.undefined(let value), _), (_, .undefined(let value)): throw value.failure
        case (.list(let left), .list(let right)), (.tuple(let left), .tuple(let right)):
            for (left, right) in zip(left.elements, right.elements) where try !areEqual(left, right) {
                return try isLess(left, right, orEqual: orEqual, symbol: symbol)
            }
            return orEqual ? left.elements.count <= right.elements.count : left.elements.count < right.elements.count
        case (.double(let left), .double(let right)): return orEqual ? left <= right : left < right
        case (.double(let double), _):
            if let integer = right.index { return Self.order(of: double, and: integer).map { orEqual ? $0 <= 0 : $0 < 0 } ?? false }
        case (_, .double(let double)):
            if let integer = left.index { return Self.order(of: double, and: integer).map { orEqual ? $0 >= 0 : $0 > 0 } ?? false }
        case (.view, .view): throw Failure.unsupported("comparing dict views by order is not supported")
        default:
            if let left = left.index, let right = right.index { return orEqual ? left <= right : left < right }
            if let left = left.text, let right = right.text {
                try charge(min(left.utf8.count, right.utf8.count) / 16)
                return orEqual ? !right.precedes(left) : left.precedes(right)
            }
        }
        throw Failure.type("'\(symbol)' not supported between instances of '\(left.typeName)' and '\(right.typeName)'")
    }

    /// The exact order of a double and an integer; nil for NaN.
    private static func order(of double: Double, and integer: Int) -> Int? {
        if double.isNaN { return nil }
        if double >= 0x1p63 { return 1 }
        if double < -0x1p63 { return -1 }
        let floor = double.rounded(.down)
        let whole = Int(floor)
        if whole != integer { return whole < integer ? -1 : 1 }
        return double > floor ? 1 : 0
    }

    /// `element in container`.
    func contains(_ container: Value, _ element: Value) throws -> Bool {
        switch container {
        case .string(let text), .markup(let text):
            guard let needle = element.text else {
                throw Failure.type("'in <string>' requires string as left operand, not \(element.typeName)")
            }
            try charge((text.utf8.count + needle.utf8.count) / 16)
            return text.containsText(needle)
        case .dict(let entries): return entries.storage[try Key(element)] != nil
        case .view(let view) where view.kind == .keys: return view.entries.storage[try Key(element)] != nil
        case .list(let items), .tuple(let items):
            for candidate in items.elements where try areEqual(candidate, element) { return true }
            return false
        case .namespace, .macro, .function, .method, .cycler, .joiner, .null, .bool, .int, .double:
            throw Failure.type("argument of type '\(container.typeName)' is not iterable")
        default:
            let iterator = try container.makeIterator()
            while let candidate = try iterator.next() {
                if try areEqual(candidate, element) { return true }
            }
            return false
        }
    }
}
