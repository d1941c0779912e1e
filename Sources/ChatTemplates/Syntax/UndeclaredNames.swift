/// Finds which of some special names (`loop`, `caller`, `self`...) a body uses without having assigned them first, in Jinja's order of reading.
struct UndeclaredNames {
    private var wanted: Set<Name>
    private(set) var found: Set<Name> = []

    static func find(_ names: [Name], in statements: [Statement]) -> Set<Name> {
        var search = UndeclaredNames(wanted: Set(names))
        for statement in statements { search.visit(statement) }
        return search.found
    }

    private init(wanted: Set<Name>) { self.wanted = wanted }

    private var isDone: Bool { found == wanted && !found.isEmpty }

    private mutating func visit(_ expression: Expression) {
        if isDone { return }
        if case .name(let name) = expression {
            if wanted.contains(name) { found.insert(name) }
            return
        }
        for child in expression.children { visit(child) }
    }

    private mutating func assign(_ names: [Name]) {
        if isDone { return }
        wanted.subtract(names)
    }

    private mutating func visit(_ statements: [Statement]) {
        for statement in statements { visit(statement) }
    }

    private mutating func visit(_ definition: MacroDefinition) {
        assign(definition.parameters.map(\.name))
        for case let fallback? in definition.parameters.map(\.fallback) { visit(fallback) }
        visit(definition.body)
    }

    private mutating func visit(_ statement: Statement) {
        switch statement {
        case .output(let items):
            for case .expression(let expression, _) in items { visit(expression) }
        case .branch(let branches, let otherwise):
            for branch in branches {
                visit(branch.test)
                visit(branch.body)
            }
            visit(otherwise)
        case .loop(let loop):
            assign(loop.target.names)
            visit(loop.source)
            visit(loop.body)
            visit(loop.otherwise)
            if let test = loop.test { visit(test) }
        case .assign(let target, let value, _):
            assign(target.names)
            visit(value)
        case .assignBlock(let target, let filter, let body, _, _):
            assign(target.names)
            if let filter { visit(filter) }
            visit(body)
        case .macro(let definition, _, _), .generation(let definition, _): visit(definition)
        case .callBlock(let definition, let call, _):
            visit(call)
            visit(definition)
        case .filterBlock(let filter, let body, _, _):
            visit(body)
            visit(filter)
        case .with(let assignments, let body, _, _):
            assign(assignments.flatMap(\.target.names))
            for assignment in assignments { visit(assignment.value) }
            visit(body)
        case .breakLoop, .continueLoop: break
        }
    }
}
