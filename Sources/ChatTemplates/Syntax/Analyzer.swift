/// Fills in the scopes of a program and refuses what Jinja refuses before a template runs.
struct Analyzer {
    private(set) var scopes: [Program.Scope]
    let special: SpecialNames

    init(_ parser: inout Parser) {
        special = SpecialNames(&parser)
        scopes = Array(repeating: Program.Scope(), count: parser.scopeCount)
    }

    mutating func analyzeRoot(_ statements: [Statement]) throws(ChatTemplateError) -> Program.Scope {
        guard UndeclaredNames.find([special.itself], in: statements).isEmpty else {
            throw ChatTemplateError(.unsupported, line: nil, "the variable 'self' is not supported")
        }
        let frame = Frame(in: nil, isInLoop: false)
        frame.collect(statements)
        try analyze(statements, in: frame)
        return Self.scope(of: frame)
    }

    private static func scope(of frame: Frame) -> Program.Scope {
        var scope = Program.Scope()
        for (name, load) in frame.symbols.loads.sorted(by: { $0.key.id < $1.key.id }) {
            scope.names.append(name)
            scope.loads.append(load)
        }
        return scope
    }

    private mutating func record(_ frame: Frame, as id: ScopeID, _ adjust: (inout Program.Scope) -> Void = { _ in }) {
        var scope = Self.scope(of: frame)
        adjust(&scope)
        scopes[id.index] = scope
    }

    // MARK: Statements

    private mutating func analyze(_ statements: [Statement], in frame: Frame) throws(ChatTemplateError) {
        for statement in statements { try analyze(statement, in: frame) }
    }

    private mutating func analyze(_ statement: Statement, in frame: Frame) throws(ChatTemplateError) {
        switch statement {
        case .output(let items):
            for case .expression(let expression, let line) in items { try check(expression, in: frame, line: line) }
        case .branch(let branches, let otherwise):
            let wasSoft = frame.isSoft
            frame.isSoft = true
            for branch in branches {
                try check(branch.test, in: frame, line: branch.line)
                try analyze(branch.body, in: frame)
            }
            try analyze(otherwise, in: frame)
            frame.isSoft = wasSoft
        case .loop(let loop): try analyze(loop, in: frame)
        case .assign(_, let value, let line): try check(value, in: frame, line: line)
        case .assignBlock(_, let filter, let body, let id, let line):
            let inner = Frame(in: frame, isInLoop: frame.isInLoop)
            inner.collect(body)
            try analyze(body, in: inner)
            if let filter { try check(filter, in: inner, line: line) }
            record(inner, as: id)
        case .macro(let definition, _, let line), .generation(let definition, let line): try analyze(definition, in: frame, line: line)
        case .callBlock(let definition, let call, let line):
            try analyze(definition, in: frame, line: line)
            try check(call, in: frame, line: line)
        case .filterBlock(let filter, let body, let id, let line):
            let inner = Frame(in: frame, isInLoop: frame.isInLoop)
            inner.collect(body)
            inner.collect(filter)
            try analyze(body, in: inner)
            try check(filter, in: inner, line: line)
            record(inner, as: id)
        case .with(let assignments, let body, let id, let line):
            for assignment in assignments { try check(assignment.value, in: frame, line: line) }
            let inner = Frame(in: frame, isInLoop: frame.isInLoop)
            for name in assignments.flatMap(\.target.names) { inner.symbols.declareParameter(name) }
            inner.collect(body)
            try analyze(body, in: inner)
            record(inner, as: id)
        case .breakLoop(let line), .continueLoop(let line):
            guard frame.isInLoop else { throw ChatTemplateError(.syntax, line: line, "'break' or 'continue' stands outside a loop") }
        }
    }

    private mutating func analyze(_ loop: Statement.Loop, in frame: Frame) throws(ChatTemplateError) {
        try check(loop.source, in: frame, line: loop.line)
        guard !StoredNames.contains(special.loop, in: [.loop(loop)]) else {
            throw ChatTemplateError(.syntax, line: loop.line, "the special variable 'loop' cannot be assigned inside a loop")
        }
        let usesLoop = !UndeclaredNames.find([special.loop], in: loop.body).isEmpty
        let body = Frame(in: frame, isInLoop: true)
        if usesLoop { body.symbols.declareParameter(special.loop) }
        for name in loop.target.names { body.symbols.declareParameter(name) }
        body.collect(loop.body)
        try analyze(loop.body, in: body)
        record(body, as: loop.bodyScope) { $0.usesLoop = usesLoop }

        if let test = loop.test {
            let inner = Frame(in: frame, isInLoop: false)
            for name in loop.target.names { inner.symbols.declareParameter(name) }
            inner.collect(test)
            try check(test, in: inner, line: loop.line)
            record(inner, as: loop.testScope)
        }
        let otherwise = Frame(in: frame, isInLoop: frame.isInLoop)
        otherwise.collect(loop.otherwise)
        try analyze(loop.otherwise, in: otherwise)
        record(otherwise, as: loop.otherwiseScope)
    }

    private mutating func analyze(_ definition: MacroDefinition, in frame: Frame, line: Int) throws(ChatTemplateError) {
        let inner = Frame(in: frame, isInLoop: false)
        let names = definition.parameters.map(\.name)
        let used = UndeclaredNames.find([special.caller, special.named, special.extra], in: definition.body)
        for name in names { inner.symbols.declareParameter(name) }
        for case let fallback? in definition.parameters.map(\.fallback) { inner.collect(fallback) }
        inner.collect(definition.body)
        if used.contains(special.caller) {
            if let parameter = definition.parameters.first(where: { $0.name == special.caller }) {
                guard parameter.fallback != nil else {
                    throw ChatTemplateError(.syntax, line: line, "the special parameter 'caller' needs a default")
                }
            } else {
                inner.symbols.declareParameter(special.caller)
            }
        }
        let takesCaller = used.contains(special.caller)
        let takesNamed = used.contains(special.named) && !names.contains(special.named)
        let takesExtra = used.contains(special.extra) && !names.contains(special.extra)
        if takesNamed { inner.symbols.declareParameter(special.named) }
        if takesExtra { inner.symbols.declareParameter(special.extra) }
        for case let fallback? in definition.parameters.map(\.fallback) { try check(fallback, in: inner, line: line) }
        try analyze(definition.body, in: inner)
        record(inner, as: definition.scope) {
            $0.takesCaller = takesCaller
            $0.takesNamed = takesNamed
            $0.takesExtra = takesExtra
        }
    }

    // MARK: Expressions

    /// Refuses names of filters and tests that do not exist, save where they might never run, and variables that Jinja lost track of.
    private func check(_ expression: Expression, in frame: Frame, line: Int, isSoft: Bool = false) throws(ChatTemplateError) {
        var isSoft = isSoft || frame.isSoft
        switch expression {
        case .name(let name):
            guard frame.finds(name) else {
                throw ChatTemplateError(.syntax, line: line, "a filter of a set block uses a variable that the block does not")
            }
        case .filter(_, let name, _, let line) where !isSoft && !FilterCatalog.names.contains(name):
            throw ChatTemplateError(.syntax, line: line, "there is no filter named '\(name)'")
        case .test(_, let name, _, let line) where !isSoft && !TestCatalog.names.contains(name):
            throw ChatTemplateError(.syntax, line: line, "there is no test named '\(name)'")
        case .conditional: isSoft = true
        default: break
        }
        for child in expression.children { try check(child, in: frame, line: line, isSoft: isSoft) }
    }
}

/// Whether a name is assigned anywhere below some statements.
private enum StoredNames {
    static func contains(_ name: Name, in statements: [Statement]) -> Bool {
        statements.contains { statement in
            switch statement {
            case .output, .breakLoop, .continueLoop: false
            case .branch(let branches, let otherwise): branches.contains { contains(name, in: $0.body) } || contains(name, in: otherwise)
            case .loop(let loop):
                loop.target.names.contains(name) || contains(name, in: loop.body) || contains(name, in: loop.otherwise)
            case .assign(let target, _, _): target.names.contains(name)
            case .assignBlock(let target, _, let body, _, _): target.names.contains(name) || contains(name, in: body)
            case .macro(let definition, _, _), .generation(let definition, _), .callBlock(let definition, _, _):
                contains(name, in: definition.body)
            case .filterBlock(_, let body, _, _), .with(_, let body, _, _): contains(name, in: body)
            }
        }
    }
}
