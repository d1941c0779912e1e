/// A parsed template with everything that is decided before it runs.
struct Program: Sendable {
    /// How a scope's variables are filled when it is entered.
    struct Scope: Sendable {
        var names: [Name] = []
        var loads: [Symbols.Load] = []
        /// A loop whose body uses `loop`; a macro that takes `caller`, further named or further plain arguments.
        var usesLoop = false
        var takesCaller = false
        var takesNamed = false
        var takesExtra = false
    }

    let statements: [Statement]
    /// The spelling of every name by its id.
    let names: [String]
    let root: Scope
    let scopes: [Scope]
    let special: SpecialNames

    init(_ source: String) throws(ChatTemplateError) {
        var parser = Parser(try Lexer.tokenize(source))
        let statements = try parser.parseTemplate()
        var analyzer = Analyzer(&parser)
        let root = try analyzer.analyzeRoot(statements)
        self.statements = statements
        self.names = parser.names
        self.root = root
        self.scopes = analyzer.scopes
        self.special = analyzer.special
    }
}

/// Names with a meaning of their own.
struct SpecialNames: Sendable {
    let loop: Name
    let caller: Name
    let named: Name
    let extra: Name
    let itself: Name

    init(_ parser: inout Parser) {
        loop = parser.intern("loop")
        caller = parser.intern("caller")
        named = parser.intern("kwargs")
        extra = parser.intern("varargs")
        itself = parser.intern("self")
    }
}
