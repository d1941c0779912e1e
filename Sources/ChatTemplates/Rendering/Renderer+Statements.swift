import OrderedCollections

extension Renderer {
    func execute(_ statements: [Statement]) throws -> Flow {
        for statement in statements {
            let flow = try execute(statement)
            if flow != .normal { return flow }
        }
        return .normal
    }

    private func execute(_ statement: Statement) throws -> Flow {
        try charge(1)
        switch statement {
        case .output(let items): try executeOutput(items)
        case .branch(let branches, let otherwise): return try deeper { try executeBranch(branches, otherwise) }
        case .loop(let loop): return try deeper { try executeLoop(loop) }
        case .assign(let target, let value, let line): try executeAssign(target, value, line: line)
        case .assignBlock(let target, let filter, let body, let id, let line):
            return try deeper { try executeAssignBlock(target, filter, body, id, line: line) }
        case .macro(let definition, let name, let line):
            self.line = line
            scope.set(name, .macro(makeMacro(definition, name: program.names[name.id])))
        case .callBlock(let definition, let call, let line): try deeper { try executeCallBlock(definition, call, line: line) }
        case .generation(let definition, let line):
            self.line = line
            try deeper { try write(callMacro(makeMacro(definition, name: nil), CallArguments())) }
        case .filterBlock(let filter, let body, let id, let line): return try deeper { try executeFilterBlock(filter, body, id, line: line) }
        case .with(let assignments, let body, let id, let line): return try deeper { try executeWith(assignments, body, id, line: line) }
        case .breakLoop: return .breaking
        case .continueLoop: return .continuing
        }
        return .normal
    }

    private func executeOutput(_ items: [Statement.Output]) throws {
        for item in items {
            switch item {
            case .text(let text): try write(text)
            case .expression(let expression, let line):
                self.line = line
                try write(try string(of: try evaluate(expression)))
            }
        }
    }

    private func executeBranch(_ branches: [Statement.Branch], _ otherwise: [Statement]) throws -> Flow {
        for branch in branches {
            line = branch.line
            if try isTrue(try evaluate(branch.test)) { return try execute(branch.body) }
        }
        return try execute(otherwise)
    }

    // MARK: Assignments

    private func executeAssign(_ target: Target, _ value: Expression, line: Int) throws {
        self.line = line
        // Jinja looks at the namespaces before it computes the value.
        for name in target.namespaces {
            guard case .namespace = self.value(of: name) else { throw Failure.type("cannot assign attribute on non-namespace object") }
        }
        try assign(try evaluate(value), to: target)
    }

    func assign(_ value: Value, to target: Target) throws {
        switch target {
        case .name(let name): scope.set(name, value)
        case .attribute(let name, let attribute):
            guard case .namespace(let namespace) = self.value(of: name) else {
                throw Failure.type("cannot assign attribute on non-namespace object")
            }
            try Namespace.check(attribute)
            namespace.attributes[attribute] = value
        case .tuple(let targets):
            let elements = try unpack(value, count: targets.count)
            for (target, element) in zip(targets, elements) { try assign(element, to: target) }
        }
    }

    /// Exactly `count` elements of something iterable.
    private func unpack(_ value: Value, count: Int) throws -> [Value] {
        guard value.isIterable else { throw Failure.type("cannot unpack non-iterable \(value.typeName) object") }
        let iterator = try value.makeIterator()
        var elements: [Value] = []
        while elements.count <= count, let element = try iterator.next() { elements.append(element) }
        guard elements.count == count else {
            throw Failure.value(
                elements.count > count
                    ? "too many values to unpack (expected \(count))" : "not enough values to unpack (expected \(count), got \(elements.count))")
        }
        return elements
    }

    private func executeAssignBlock(
        _ target: Target, _ filter: Expression?, _ body: [Statement], _ id: ScopeID, line: Int
    ) throws -> Flow {
        let inner = Scope(program.scopes[id.index], outer: scope)
        enter(inner)
        defer { inner.clear() }
        let (text, flow) = try within(inner) { try capture { try execute(body) } }
        if flow != .normal { return flow }
        self.line = line
        let value = try filter.map { filter in try within(inner) { try evaluate(filter, on: text) } } ?? .string(text)
        try assign(value, to: target)
        return .normal
    }

    /// Evaluates a chain of filters whose innermost operand is the text of a block.
    private func evaluate(_ filter: Expression, on text: String) throws -> Value {
        let saved = capturedText
        capturedText = text
        defer { capturedText = saved }
        return try evaluate(filter)
    }

    // MARK: Blocks

    private func executeFilterBlock(_ filter: Expression, _ body: [Statement], _ id: ScopeID, line: Int) throws -> Flow {
        let inner = Scope(program.scopes[id.index], outer: scope)
        enter(inner)
        defer { inner.clear() }
        let (text, flow) = try within(inner) { try capture { try execute(body) } }
        if flow != .normal { return flow }
        self.line = line
        let value = try within(inner) { try evaluate(filter, on: text) }
        try writeBlock(value)
        return .normal
    }

    private func executeWith(
        _ assignments: [(target: Target, value: Expression)], _ body: [Statement], _ id: ScopeID, line: Int
    ) throws -> Flow {
        self.line = line
        let inner = Scope(program.scopes[id.index], outer: scope)
        enter(inner)
        defer { inner.clear() }
        for assignment in assignments {
            let value = try evaluate(assignment.value)
            try within(inner) { try assign(value, to: assignment.target) }
        }
        return try within(inner) { try execute(body) }
    }

    private func executeCallBlock(_ definition: MacroDefinition, _ call: Expression, line: Int) throws {
        self.line = line
        guard case .call(let callee, let arguments, _) = call else { return }
        let caller = makeMacro(definition, name: nil)
        let function = try evaluate(callee)
        var values = try evaluate(arguments)
        guard !values.named.contains(where: { $0.name == "caller" }) else { throw Failure.type("got multiple values for keyword argument 'caller'") }
        values.named.append(("caller", .macro(caller)))
        let value = try self.call(function, values)
        try writeBlock(value)
    }

    /// What a block's filter or call returns goes out as it is, and only text can.
    private func writeBlock(_ value: Value) throws {
        guard let text = value.text else { throw Failure.type("a block must give text, not \(value.typeName)") }
        try write(text)
    }
}
