/// A statement of a template, as parsed. Those that open a scope carry its number in the program.
indirect enum Statement: Sendable {
    case output([Output])
    case branch([Branch], otherwise: [Statement])
    case loop(Loop)
    case assign(Target, Expression, line: Int)
    case assignBlock(Target, filter: Expression?, body: [Statement], scope: ScopeID, line: Int)
    case macro(MacroDefinition, name: Name, line: Int)
    case callBlock(MacroDefinition, call: Expression, line: Int)
    /// `{% generation %}`, which marks the assistant's words for training and otherwise prints its body.
    case generation(MacroDefinition, line: Int)
    case filterBlock(Expression, body: [Statement], scope: ScopeID, line: Int)
    case with([(target: Target, value: Expression)], body: [Statement], scope: ScopeID, line: Int)
    case breakLoop(line: Int)
    case continueLoop(line: Int)

    enum Output: Sendable {
        case text(String)
        case expression(Expression, line: Int)
    }

    struct Branch: Sendable {
        let test: Expression
        let body: [Statement]
        let line: Int
    }

    struct Loop: Sendable {
        let target: Target
        let source: Expression
        let test: Expression?
        let body: [Statement]
        let otherwise: [Statement]
        let bodyScope: ScopeID
        let testScope: ScopeID
        let otherwiseScope: ScopeID
        let line: Int
    }
}

/// What a value is assigned to.
indirect enum Target: Sendable {
    case name(Name)
    /// A member of a namespace.
    case attribute(Name, String)
    case tuple([Target])

    /// The plain names in it.
    var names: [Name] {
        switch self {
        case .name(let name): [name]
        case .attribute: []
        case .tuple(let targets): targets.flatMap(\.names)
        }
    }

    /// The namespaces in it, each once.
    var namespaces: [Name] {
        switch self {
        case .name: []
        case .attribute(let name, _): [name]
        case .tuple(let targets): targets.flatMap(\.namespaces)
        }
    }
}

/// The parameters and body of a macro or of the block that a `call` hands over.
struct MacroDefinition: Sendable {
    struct Parameter: Sendable {
        let name: Name
        let fallback: Expression?
    }

    let parameters: [Parameter]
    let body: [Statement]
    let scope: ScopeID
}

/// A scope's number in ``Program/scopes``.
struct ScopeID: Hashable, Sendable {
    let index: Int
}
