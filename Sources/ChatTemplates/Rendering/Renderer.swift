import JSON
import OrderedCollections

/// One rendering of a program: its variables, its output so far and what it may still use up.
final class Renderer {
    let program: Program
    let limits: TemplateLimits
    let clock: TemplateClock
    private let variables: [String: Value]

    private var stepsLeft: Int
    private var depth = 0
    /// The line of the statement or print tag that runs, for errors.
    var line = 1
    private var output = ""
    var scope: Scope
    /// The text of the block around, while its filter runs.
    var capturedText: String?
    /// Everything that can close a circle of references. Emptied at the end, since nothing else would release it.
    private var namespaces: [Namespace] = []
    private var capturedScopes: [Scope] = []

    init(_ program: Program, variables: JSONObject, limits: TemplateLimits, clock: TemplateClock) throws {
        self.program = program
        self.limits = limits
        self.clock = clock
        stepsLeft = limits.steps
        var values: [String: Value] = [:]
        for (name, value) in variables { values[name] = try Value(value) }
        self.variables = values
        scope = Scope(program.root, outer: nil)
    }

    func render() throws(ChatTemplateError) -> String {
        defer { release() }
        do {
            enter(scope)
            _ = try execute(program.statements)
            return output
        } catch let failure as Failure {
            throw ChatTemplateError(failure.code, line: line, failure.message)
        } catch let error as ChatTemplateError {
            throw error
        } catch {
            throw ChatTemplateError(.value, line: line, "\(error)")
        }
    }

    private func release() {
        for namespace in namespaces { namespace.attributes = [:] }
        for scope in capturedScopes { scope.clear() }
        scope.clear()
        capturedScopes = []
        namespaces = []
    }

    // MARK: Budgets

    /// Takes `units` from the step budget.
    func charge(_ units: Int) throws {
        stepsLeft -= max(0, min(units, limits.steps))
        if stepsLeft < 0 { throw Failure.limit("the template takes more than \(limits.steps) steps") }
    }

    /// Charges for a text of `byteCount` bytes before it is made.
    func charge(textByteCount byteCount: Int) throws { try charge(byteCount / 16 + 1) }

    /// Pays for a text that has been made.
    func paid(_ text: String) throws -> Value {
        try charge(textByteCount: text.utf8.count)
        return .string(text)
    }

    /// Pays for a list and makes it.
    func paidList(_ elements: [Value]) throws -> Value {
        try charge(elements.count)
        return try .list(elements)
    }

    /// Runs `body` one level deeper in calls and nesting.
    func deeper<Result>(_ body: () throws -> Result) throws -> Result {
        depth += 1
        defer { depth -= 1 }
        guard depth <= limits.callDepth else { throw Failure.limit("the template nests deeper than \(limits.callDepth) calls") }
        return try body()
    }

    // MARK: Output

    func write(_ text: String) throws {
        try charge(textByteCount: text.utf8.count)
        output += text
        if output.utf8.count > limits.outputByteCount {
            throw Failure.limit("the rendered text is longer than \(limits.outputByteCount) bytes")
        }
    }

    /// Runs `body` and returns what it wrote instead of printing it.
    func capture(_ body: () throws -> Flow) throws -> (text: String, flow: Flow) {
        let saved = output
        output = ""
        defer { output = saved }
        let flow = try body()
        return (output, flow)
    }

    // MARK: Scopes

    func enter(_ scope: Scope) {
        for (index, load) in scope.layout.loads.enumerated() {
            switch load {
            case .parameter: break
            case .missing: scope.values[index] = nil
            case .outer: scope.values[index] = scope.outer?.value(of: scope.layout.names[index]) ?? nil
            case .context:
                let name = program.names[scope.layout.names[index].id]
                scope.values[index] = variables[name] ?? GlobalFunction(rawValue: name).map { .function($0) }
            }
        }
    }

    /// Runs `body` in a scope inside the current one or inside `outer`.
    func within<Result>(_ inner: Scope, _ body: () throws -> Result) throws -> Result {
        let saved = scope
        scope = inner
        defer { scope = saved }
        return try body()
    }

    func value(of name: Name) -> Value {
        if let known = scope.value(of: name), let value = known { return value }
        return .undefined(Undefined("'\(program.names[name.id])' is undefined"))
    }

    func keepUntilEnd(_ namespace: Namespace) { namespaces.append(namespace) }
    func keepUntilEnd(_ scope: Scope) { capturedScopes.append(scope) }
}

/// The variables of one scope while it runs. A reference, because macros keep the scope in which they were defined.
final class Scope {
    let layout: Program.Scope
    let outer: Scope?
    fileprivate(set) var values: [Value?]

    init(_ layout: Program.Scope, outer: Scope?) {
        self.layout = layout
        self.outer = outer
        values = Array(repeating: nil, count: layout.names.count)
    }

    /// The value in the innermost scope that knows the name: nil where none does, nil inside where it has no value yet.
    func value(of name: Name) -> Value?? {
        var scope: Scope? = self
        while let current = scope {
            if let index = current.layout.names.firstIndex(of: name) { return .some(current.values[index]) }
            scope = current.outer
        }
        return nil
    }

    /// Sets a name of this scope; others do not belong to it.
    func set(_ name: Name, _ value: Value?) {
        if let index = layout.names.firstIndex(of: name) { values[index] = value }
    }

    func clear() {
        for index in values.indices { values[index] = nil }
    }
}

/// How a statement ended.
enum Flow { case normal, breaking, continuing }
