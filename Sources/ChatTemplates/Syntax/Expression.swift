/// An expression of a template, as parsed.
indirect enum Expression: Sendable {
    case literal(Literal)
    case name(Name)
    case tuple([Expression])
    case list([Expression])
    case dict([Pair])
    case not(Expression)
    case negate(Expression)
    case plus(Expression)
    case binary(BinaryOperator, Expression, Expression)
    case and(Expression, Expression)
    case or(Expression, Expression)
    case compare(Expression, [Comparison])
    case concatenate([Expression])
    case conditional(test: Expression, then: Expression, otherwise: Expression?)
    case attribute(Expression, String)
    case item(Expression, Expression)
    case slice(Expression, start: Expression?, stop: Expression?, step: Expression?)
    case call(Expression, Arguments, line: Int)
    /// A filter; without an operand it works on the text of the block around it.
    case filter(Expression?, String, Arguments, line: Int)
    case test(Expression, String, Arguments, line: Int)

    enum Literal: Sendable {
        case null, bool(Bool), integer(Int), float(Double), string(String)

        var value: Value {
            switch self {
            case .null: .null
            case .bool(let value): .bool(value)
            case .integer(let value): .int(value)
            case .float(let value): .double(value)
            case .string(let text): .string(text)
            }
        }
    }

    struct Pair: Sendable {
        let key: Expression
        let value: Expression
    }

    enum BinaryOperator: String, Sendable {
        case add = "+", subtract = "-", multiply = "*", divide = "/", floorDivide = "//", modulo = "%", power = "**"
    }

    enum ComparisonOperator: String, Sendable {
        case equal = "==", notEqual = "!=", less = "<", lessOrEqual = "<=", greater = ">", greaterOrEqual = ">=", `in` = "in", notIn = "not in"
    }

    struct Comparison: Sendable {
        let symbol: ComparisonOperator
        let operand: Expression
    }

    struct Arguments: Sendable {
        var positional: [Expression] = []
        var named: [(name: String, value: Expression)] = []
        /// `*values`
        var unpacked: Expression?
        /// `**members`
        var unpackedNamed: Expression?

        static let none = Arguments()

        var expressions: [Expression] {
            positional + named.map(\.value) + [unpacked, unpackedNamed].compactMap(\.self)
        }
    }

    /// The parts in Jinja's order, which decides what a macro takes `caller` and a loop takes `loop` for.
    var children: [Expression] {
        switch self {
        case .literal, .name: []
        case .tuple(let items), .list(let items), .concatenate(let items): items
        case .dict(let pairs): pairs.flatMap { [$0.key, $0.value] }
        case .not(let operand), .negate(let operand), .plus(let operand), .attribute(let operand, _): [operand]
        case .binary(_, let left, let right), .and(let left, let right), .or(let left, let right): [left, right]
        case .compare(let first, let comparisons): [first] + comparisons.map(\.operand)
        case .conditional(let test, let then, let otherwise): [test, then] + (otherwise.map { [$0] } ?? [])
        case .item(let container, let index): [container, index]
        case .slice(let container, let start, let stop, let step): [container] + [start, stop, step].compactMap(\.self)
        case .call(let callee, let arguments, _): [callee] + arguments.expressions
        case .filter(let operand, _, let arguments, _): (operand.map { [$0] } ?? []) + arguments.expressions
        case .test(let operand, _, let arguments, _): [operand] + arguments.expressions
        }
    }
}

/// A variable's name, as a number into ``Program/names`` so that scopes compare integers.
struct Name: Hashable, Sendable {
    let id: Int
}
