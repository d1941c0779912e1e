import OrderedCollections

extension Renderer {
    func call(_ function: Value, _ arguments: CallArguments) throws -> Value {
        switch function {
        case .undefined(let undefined): throw undefined.failure
        case .function(let global): return try call(global, arguments)
        case .macro(let macro): return try paid(try callMacro(macro, arguments))
        case .method(let method): return try callMethod(method.name, of: method.receiver, arguments)
        case .joiner(let joiner):
            try arguments.expectNone("joiner")
            if joiner.isUsed { return joiner.separator }
            joiner.isUsed = true
            return .string("")
        case .loop: throw Failure.unsupported("a recursive loop is not supported")
        default: throw Failure.type("'\(function.typeName)' object is not callable")
        }
    }

    // MARK: Macros

    func makeMacro(_ definition: MacroDefinition, name: String?) -> Macro {
        keepUntilEnd(scope)
        let names = definition.parameters.map { program.names[$0.name.id] }
        return Macro(definition, layout: program.scopes[definition.scope.index], name: name, parameterNames: names, scope: scope)
    }

    /// Runs the macro and returns what it wrote.
    func callMacro(_ macro: Macro, _ arguments: CallArguments) throws -> String {
        let inner = Scope(macro.layout, outer: macro.scope)
        try bind(arguments, of: macro, to: inner)
        let savedLine = line
        let text = try deeper {
            try within(inner) {
                try fillDefaults(of: macro, in: inner)
                return try capture { try execute(macro.definition.body) }.text
            }
        }
        line = savedLine
        return text
    }

    private func bind(_ arguments: CallArguments, of macro: Macro, to inner: Scope) throws {
        enter(inner)
        let name = macro.name ?? "caller"
        var arguments = arguments
        let parameters = macro.definition.parameters
        for (parameter, value) in zip(parameters, arguments.positional) { inner.set(parameter.name, value) }
        var foundCaller = arguments.positional.count >= parameters.count && macro.parameterNames.contains("caller")
        for (index, parameter) in parameters.enumerated().dropFirst(arguments.positional.count) {
            if macro.parameterNames[index] == "caller" { foundCaller = true }
            inner.set(parameter.name, arguments.removeNamed(macro.parameterNames[index]))
        }
        if macro.layout.takesCaller, !foundCaller {
            var caller = arguments.removeNamed("caller") ?? .null
            if caller.isNull { caller = .undefined(Undefined("No caller defined")) }
            inner.set(program.special.caller, caller)
        }
        if macro.layout.takesNamed {
            var storage: OrderedDictionary<Key, Value> = [:]
            for (name, value) in arguments.named { storage[.string(name)] = value }
            inner.set(program.special.named, try .dict(storage))
        } else if let extra = arguments.named.first {
            throw Failure.type("macro '\(name)' takes no keyword argument '\(extra.name)'")
        }
        if macro.layout.takesExtra {
            inner.set(program.special.extra, try .tuple(Array(arguments.positional.dropFirst(parameters.count))))
        } else if arguments.positional.count > parameters.count {
            throw Failure.type("macro '\(name)' takes not more than \(parameters.count) argument(s)")
        }
    }

    private func fillDefaults(of macro: Macro, in inner: Scope) throws {
        for (index, parameter) in macro.definition.parameters.enumerated() {
            if case .some(.some) = inner.value(of: parameter.name) { continue }
            let missing = Value.undefined(Undefined("parameter '\(macro.parameterNames[index])' was not provided"))
            inner.set(parameter.name, try parameter.fallback.map { try evaluate($0) } ?? missing)
        }
    }

    // MARK: Global functions

    private func call(_ function: GlobalFunction, _ arguments: CallArguments) throws -> Value {
        switch function {
        case .range: return try makeRange(arguments)
        case .dict: return try .dict(try makeStorage("dict", arguments))
        case .namespace: return try makeNamespace(arguments)
        case .cycler:
            guard arguments.named.isEmpty else { throw Failure.type("cycler() takes no keyword arguments") }
            guard !arguments.positional.isEmpty else { throw Failure.value("at least one item has to be provided") }
            _ = try Value.depth(containing: arguments.positional)
            return .cycler(Cycler(arguments.positional))
        case .joiner:
            let separator = try arguments.bind("joiner", ["sep"])[0] ?? .string(", ")
            _ = try Value.depth(containing: [separator])
            return .joiner(Joiner(separator))
        case .raiseException:
            let message = try arguments.bind("raise_exception", ["message"], required: 1)[0] ?? .null
            throw Failure(.raised, try string(of: message))
        case .strftimeNow:
            guard let format = try arguments.bind("strftime_now", ["format"], required: 1)[0]?.text else {
                throw Failure.type("strftime() argument 1 must be str")
            }
            return try paid(try clock.now().formatted(format))
        case .lipsum: throw Failure.unsupported("the function 'lipsum' is not supported")
        }
    }

    private func makeRange(_ arguments: CallArguments) throws -> Value {
        guard arguments.named.isEmpty else { throw Failure.type("range() takes no keyword arguments") }
        let numbers = try arguments.positional.map { value in
            if case .undefined(let undefined) = value { throw undefined.failure }
            guard let index = value.index else { throw Failure.type("'\(value.typeName)' object cannot be interpreted as an integer") }
            return index
        }
        let (start, stop, step): (Int, Int, Int)
        switch numbers.count {
        case 1: (start, stop, step) = (0, numbers[0], 1)
        case 2: (start, stop, step) = (numbers[0], numbers[1], 1)
        case 3: (start, stop, step) = (numbers[0], numbers[1], numbers[2])
        default: throw Failure.type("range expected 1 to 3 arguments, got \(numbers.count)")
        }
        guard step != 0 else { throw Failure.value("range() arg 3 must not be zero") }
        let isEmpty = step > 0 ? start >= stop : start <= stop
        let distance = step > 0 ? stop.subtractingReportingOverflow(start) : start.subtractingReportingOverflow(stop)
        guard isEmpty || !distance.overflow else { throw Failure.value("Range too big") }
        let count = isEmpty ? 0 : (distance.partialValue - 1) / Int(clamping: step.magnitude) + 1
        guard count <= TemplateLimits.rangeCount else {
            throw Failure.value("Range too big. The sandbox blocks ranges larger than MAX_RANGE (\(TemplateLimits.rangeCount)).")
        }
        return .range(IntegerRange(start: start, stop: stop, step: step, count: count))
    }

    /// What Python's `dict(...)` takes: a mapping or pairs, then names.
    private func makeStorage(_ function: String, _ arguments: CallArguments) throws -> OrderedDictionary<Key, Value> {
        guard arguments.positional.count <= 1 else {
            throw Failure.type("\(function) expected at most 1 argument, got \(arguments.positional.count)")
        }
        var storage: OrderedDictionary<Key, Value> = [:]
        switch arguments.positional.first {
        case nil: break
        case .dict(let entries): storage = entries.storage
        case .undefined(let undefined): throw undefined.failure
        case let source?:
            for element in try elements(of: source) {
                let pair = try elements(of: element)
                guard pair.count == 2 else { throw Failure.value("dictionary update sequence element has length \(pair.count); 2 is required") }
                storage[try Key(pair[0])] = pair[1]
            }
        }
        for (name, value) in arguments.named { storage[.string(name)] = value }
        try charge(storage.count)
        return storage
    }

    private func makeNamespace(_ arguments: CallArguments) throws -> Value {
        var attributes: OrderedDictionary<String, Value> = [:]
        for (key, value) in try makeStorage("namespace", arguments) {
            guard let name = key.value.text else { throw Failure.unsupported("an attribute of a namespace that is no text is not supported") }
            try Namespace.check(name)
            attributes[name] = value
        }
        let namespace = Namespace(attributes)
        keepUntilEnd(namespace)
        return .namespace(namespace)
    }
}

/// What every template can call.
enum GlobalFunction: String {
    case range, dict, namespace, cycler, joiner, lipsum
    case raiseException = "raise_exception"
    case strftimeNow = "strftime_now"
}

extension Namespace {
    static func check(_ name: String) throws {
        if name.utf8.first == UInt8(ascii: "_") {
            throw Failure(.security, "chat templates cannot store underscore-prefixed attributes on a namespace, but got '\(name)'")
        }
    }
}

/// A macro with the scope in which it was defined.
final class Macro {
    let definition: MacroDefinition
    let layout: Program.Scope
    let name: String?
    let parameterNames: [String]
    let scope: Scope

    init(_ definition: MacroDefinition, layout: Program.Scope, name: String?, parameterNames: [String], scope: Scope) {
        self.definition = definition
        self.layout = layout
        self.name = name
        self.parameterNames = parameterNames
        self.scope = scope
    }

    func member(_ name: String) throws -> Value? {
        switch name {
        case "name": self.name.map { .string($0) } ?? .null
        case "arguments": try .tuple(parameterNames.map { .string($0) })
        case "catch_kwargs": .bool(layout.takesNamed)
        case "catch_varargs": .bool(layout.takesExtra)
        case "caller": .bool(layout.takesCaller)
        case "explicit_caller": .bool(parameterNames.contains("caller"))
        default: nil
        }
    }
}
