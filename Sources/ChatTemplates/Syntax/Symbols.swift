/// Which names a scope knows and where each gets its value when the scope is entered, by Jinja's own rules.
///
/// Jinja decides while compiling whether a name in a loop body, a macro or a block belongs to that scope or to one around it, and what it
/// holds before its first assignment. A renderer that looked names up as it goes would print other text in the odd cases, so the same
/// analysis is done here.
struct Symbols {
    enum Load: Equatable, Sendable {
        /// Filled by the loop or call that enters the scope.
        case parameter
        /// From the variables given by the caller.
        case context
        /// What the name holds in the scope around at that time.
        case outer
        /// Nothing until it is assigned.
        case missing
    }

    private(set) var loads: [Name: Load] = [:]
    private(set) var stores: Set<Name> = []

    func knows(_ name: Name) -> Bool { loads[name] != nil }

    mutating func declareParameter(_ name: Name) {
        stores.insert(name)
        loads[name] = .parameter
    }

    mutating func load(_ name: Name, outer: Frame?) {
        if !knows(name), outer?.finds(name) != true { loads[name] = .context }
    }

    mutating func store(_ name: Name, outer: Frame?) {
        stores.insert(name)
        if !knows(name) { loads[name] = outer?.finds(name) == true ? .outer : .missing }
    }

    /// Takes in the branches of an `if`: a name assigned in only some of them falls back to what it is outside.
    mutating func merge(_ branches: [Symbols], outer: Frame?) {
        let before = stores
        for branch in branches {
            loads.merge(branch.loads) { $1 }
            stores.formUnion(branch.stores)
        }
        for name in stores.subtracting(before) { loads[name] = outer?.finds(name) == true ? .outer : .context }
    }
}

/// A scope while the template is analysed.
final class Frame {
    var symbols = Symbols()
    let outer: Frame?
    /// Inside `if`, an unknown filter fails only when it runs.
    var isSoft = false
    /// Whether `break` and `continue` have a loop to act on, which they do not find through a macro.
    var isInLoop: Bool

    init(in outer: Frame?, isInLoop: Bool) {
        self.outer = outer
        self.isInLoop = isInLoop
    }

    func finds(_ name: Name) -> Bool { symbols.knows(name) || outer?.finds(name) == true }
}

// MARK: - Collecting

/// Walks the statements of one scope, not those of the scopes inside it.
extension Frame {
    func collect(_ statements: [Statement]) {
        for statement in statements { collect(statement) }
    }

    func collect(_ expression: Expression) {
        if case .name(let name) = expression { symbols.load(name, outer: outer) }
        for child in expression.children { collect(child) }
    }

    func collectStores(_ target: Target) {
        switch target {
        case .name(let name): symbols.store(name, outer: outer)
        case .attribute(let name, _): symbols.load(name, outer: outer)
        case .tuple(let targets): for target in targets { collectStores(target) }
        }
    }

    private func collect(_ statement: Statement) {
        switch statement {
        case .output(let items):
            for case .expression(let expression, _) in items { collect(expression) }
        case .branch(let branches, let otherwise): collect(branches, otherwise)
        case .loop(let loop): collect(loop.source)
        case .assign(let target, let value, _):
            collect(value)
            collectStores(target)
        case .assignBlock(let target, _, _, _, _): collectStores(target)
        case .macro(_, let name, _): symbols.store(name, outer: outer)
        case .callBlock(_, let call, _): collect(call)
        case .filterBlock(let filter, _, _, _): collect(filter)
        case .with(let assignments, _, _, _): for assignment in assignments { collect(assignment.value) }
        case .generation, .breakLoop, .continueLoop: break
        }
    }

    /// Jinja treats `elif` as one branch that holds further `if`s.
    private func collect(_ branches: [Statement.Branch], _ otherwise: [Statement]) {
        guard let first = branches.first else { return }
        collect(first.test)
        let original = symbols
        func inside(_ body: () -> Void) -> Symbols {
            symbols = original
            body()
            defer { symbols = original }
            return symbols
        }
        let bodies = [
            inside { collect(first.body) },
            inside { for branch in branches.dropFirst() { collect([branch], []) } },
            inside { collect(otherwise) },
        ]
        symbols.merge(bodies, outer: outer)
    }
}
