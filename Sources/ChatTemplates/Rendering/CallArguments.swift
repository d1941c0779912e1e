/// The evaluated arguments of a call.
struct CallArguments {
    var positional: [Value] = []
    var named: [(name: String, value: Value)] = []

    init(_ positional: [Value] = []) { self.positional = positional }

    /// The arguments in the order of `names`, nil where one is not given, by Python's rules of binding.
    ///
    /// `required` counts from the left. A built-in method of Python that takes no keywords has `keywords` false.
    func bind(_ function: String, _ names: [String], required: Int = 0, keywords: Bool = true) throws -> [Value?] {
        guard positional.count <= names.count else {
            throw Failure.type("\(function)() takes at most \(names.count) arguments (\(positional.count) given)")
        }
        guard keywords || named.isEmpty else { throw Failure.type("\(function)() takes no keyword arguments") }
        var values: [Value?] = positional + Array(repeating: nil, count: names.count - positional.count)
        for (name, value) in named {
            guard let index = names.firstIndex(of: name) else { throw Failure.type("\(function)() got an unexpected keyword argument '\(name)'") }
            if case .some = values[index] { throw Failure.type("\(function)() got multiple values for argument '\(name)'") }
            values[index] = value
        }
        for index in 0..<required {
            guard case .some = values[index] else { throw Failure.type("\(function)() missing required argument '\(names[index])'") }
        }
        return values
    }

    func expectNone(_ function: String) throws { _ = try bind(function, []) }

    /// Takes out a named argument.
    mutating func removeNamed(_ name: String) -> Value? {
        guard let index = named.firstIndex(where: { $0.name == name }) else { return nil }
        return named.remove(at: index).value
    }
}
