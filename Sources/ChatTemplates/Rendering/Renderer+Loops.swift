extension Renderer {
    func executeLoop(_ loop: Statement.Loop) throws -> Flow {
        line = loop.line
        let source = try evaluate(loop.source)
        let iterable = try loop.test.map { try filtered(source, by: $0, of: loop) } ?? source
        let layout = program.scopes[loop.bodyScope.index]
        let inner = Scope(layout, outer: scope)
        defer { inner.clear() }
        let context = layout.usesLoop ? try LoopContext(over: iterable) : nil
        let iterator = try context == nil ? iterable.makeIterator() : nil
        var finishedOnce = false
        while true {
            line = loop.line
            guard let element = try context.map({ try $0.advance() }) ?? iterator?.next() else { break }
            try charge(1)
            let flow = try within(inner) {
                try assign(element, to: loop.target)
                if let context { inner.set(program.special.loop, .loop(context)) }
                enter(inner)
                return try execute(loop.body)
            }
            if flow == .breaking { break }
            // Jinja counts only iterations that reach the end of the body, so `continue` in all of them runs the else part.
            if flow == .normal { finishedOnce = true }
        }
        guard !finishedOnce, !loop.otherwise.isEmpty else { return .normal }
        let otherwise = Scope(program.scopes[loop.otherwiseScope.index], outer: scope)
        enter(otherwise)
        defer { otherwise.clear() }
        return try within(otherwise) { try execute(loop.otherwise) }
    }

    /// The elements for which `test` holds, tested as they are drawn.
    private func filtered(_ source: Value, by test: Expression, of loop: Statement.Loop) throws -> Value {
        let inner = Scope(program.scopes[loop.testScope.index], outer: scope)
        keepUntilEnd(inner)
        var iterator: LazyIterator?
        return .iterator(
            try LazyIterator(over: [source]) { [self] in
                if iterator == nil {
                    enter(inner)
                    iterator = try source.makeIterator()
                }
                while let element = try iterator?.next() {
                    try charge(1)
                    let isKept = try within(inner) {
                        try assign(element, to: loop.target)
                        return try isTrue(try evaluate(test))
                    }
                    if isKept { return try within(inner) { try self.value(of: loop.target) } }
                }
                return nil
            })
    }

    private func value(of target: Target) throws -> Value {
        switch target {
        case .name(let name), .attribute(let name, _): value(of: name)
        case .tuple(let targets): try .tuple(try targets.map { try value(of: $0) })
        }
    }
}

/// The variable `loop`: where a loop stands, looking one element ahead only when asked.
final class LoopContext {
    private let iterator: LazyIterator
    private var remaining: ArraySlice<Value>?
    private var knownCount: Int?
    private(set) var index0 = -1
    private var after: Value?
    private var current: Value?
    private(set) var before: Value?
    private var lastChanged: [Value]?

    init(over source: Value) throws {
        iterator = try source.makeIterator()
        knownCount = source.count
    }

    func advance() throws -> Value? {
        var element = after
        after = nil
        if element == nil { element = try draw() }
        guard let element else { return nil }
        index0 += 1
        before = current
        current = element
        return element
    }

    private func draw() throws -> Value? {
        if remaining != nil { return remaining?.popFirst() }
        return try iterator.next()
    }

    /// The element that follows, nil at the end.
    var next: Value? {
        get throws {
            if after == nil { after = try draw() }
            return after
        }
    }

    /// How many elements there are; those of an iterator are drawn to count them.
    func count(_ renderer: Renderer) throws -> Int {
        if let knownCount { return knownCount }
        var rest: [Value] = []
        while let element = try draw() {
            try renderer.charge(1)
            rest.append(element)
        }
        remaining = rest[...]
        let count = rest.count + index0 + 1 + (after == nil ? 0 : 1)
        knownCount = count
        return count
    }

    /// A member of `loop`, nil where it has none of that name.
    func member(_ name: String, _ renderer: Renderer) throws -> Value? {
        switch name {
        case "index": .int(index0 + 1)
        case "index0": .int(index0)
        case "first": .bool(index0 == 0)
        case "last": .bool(try next == nil)
        case "length": .int(try count(renderer))
        case "revindex": .int(try count(renderer) - index0)
        case "revindex0": .int(try count(renderer) - index0 - 1)
        case "depth": .int(1)
        case "depth0": .int(0)
        case "previtem":
            if index0 == 0 {
                .undefined(Undefined("there is no previous item"))
            } else {
                before ?? .undefined(Undefined("there is no previous item"))
            }
        case "nextitem": try next ?? .undefined(Undefined("there is no next item"))
        case "cycle", "changed": .method(BoundMethod(.loop(self), name))
        default: nil
        }
    }

    /// Whether `values` differ from those of the call before.
    func changed(_ values: [Value], _ renderer: Renderer) throws -> Bool {
        if let lastChanged, lastChanged.count == values.count {
            var isSame = true
            for (old, new) in zip(lastChanged, values) where try !renderer.areEqual(old, new) { isSame = false }
            if isSame { return false }
        }
        lastChanged = values
        return true
    }
}
