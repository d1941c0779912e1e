/// One token of a template with the line on which it starts.
struct Token {
    enum Kind: Equatable {
        case data(String)
        case variableBegin, variableEnd, blockBegin, blockEnd
        case name(String)
        case string(String)
        case integer(Int)
        case float(Double)
        case symbol(Symbol)
        case end
    }

    /// Operators and brackets, longest spelling first in the lexer.
    enum Symbol: String, CaseIterable {
        case floorDivide = "//", power = "**", equal = "==", notEqual = "!=", greaterOrEqual = ">=", lessOrEqual = "<="
        case add = "+", subtract = "-", divide = "/", multiply = "*", modulo = "%", tilde = "~"
        case leftBracket = "[", rightBracket = "]", leftParenthesis = "(", rightParenthesis = ")", leftBrace = "{", rightBrace = "}"
        case greater = ">", less = "<", assign = "=", dot = ".", colon = ":", pipe = "|", comma = ",", semicolon = ";"
    }

    let kind: Kind
    let line: Int

    /// How a message names the token.
    var spelling: String {
        switch kind {
        case .data: "template text"
        case .variableBegin: "{{"
        case .variableEnd: "}}"
        case .blockBegin: "{%"
        case .blockEnd: "%}"
        case .name(let name): name
        case .string: "a string"
        case .integer(let value): "\(value)"
        case .float(let value): "\(value)"
        case .symbol(let symbol): symbol.rawValue
        case .end: "the end of the template"
        }
    }
}
