/// Cuts a template into tokens as Jinja's lexer does with `trim_blocks` and `lstrip_blocks`.
///
/// The white space rules live here: `-` beside a delimiter strips on that side, `+` keeps; a block or comment that stands alone on its line takes
/// the line's indentation and its newline with it; line ends become `\n` and one newline at the very end is dropped.
struct Lexer {
    let source: [Unicode.Scalar]
    var position = 0
    var line = 1
    var tokens: [Token] = []
    /// Whether the text matched last ended in a newline, so that what follows begins a line.
    private var isAtLineStart = true
    /// Closing brackets that are still owed inside the current tag.
    private var openBrackets: [Token.Symbol] = []

    init(_ text: String) {
        var scalars: [Unicode.Scalar] = []
        scalars.reserveCapacity(text.utf8.count)
        var previousWasReturn = false
        for scalar in text.unicodeScalars {
            if scalar == "\r" {
                scalars.append("\n")
            } else if scalar != "\n" || !previousWasReturn {
                scalars.append(scalar)
            }
            previousWasReturn = scalar == "\r"
        }
        if scalars.last == "\n" { scalars.removeLast() }
        source = scalars
    }

    static func tokenize(_ text: String) throws(ChatTemplateError) -> [Token] {
        var lexer = Lexer(text)
        while lexer.position < lexer.source.count { try lexer.scanText() }
        lexer.tokens.append(Token(kind: .end, line: lexer.line))
        return lexer.tokens
    }

    func fail(_ message: String) -> ChatTemplateError { ChatTemplateError(.syntax, line: line, message) }

    // MARK: Looking ahead

    func peek(_ offset: Int = 0) -> Unicode.Scalar? {
        let index = position + offset
        return index >= 0 && index < source.count ? source[index] : nil
    }

    func starts(with text: StaticString, at index: Int) -> Bool {
        let count = text.utf8CodeUnitCount
        guard source.count - index >= count else { return false }
        return text.withUTF8Buffer { bytes in (0..<count).allSatisfy { source[index + $0].value == UInt32(bytes[$0]) } }
    }

    private func skippingWhitespace(from index: Int) -> Int {
        var index = index
        while index < source.count, source[index].isPythonWhitespace { index += 1 }
        return index
    }

    /// Moves on to `end`, counting lines.
    mutating func advance(to end: Int) {
        for index in position..<end where source[index] == "\n" { line += 1 }
        if end > position { isAtLineStart = source[end - 1] == "\n" }
        position = end
    }

    // MARK: Text and delimiters

    /// Reads the text up to the next delimiter and what the delimiter opens.
    private mutating func scanText() throws(ChatTemplateError) {
        var start = position
        while start + 1 < source.count {
            if source[start] == "{", source[start + 1] == "{" || source[start + 1] == "%" || source[start + 1] == "#" { break }
            start += 1
        }
        guard start + 1 < source.count else {
            emitData(Array(source[position...]))
            advance(to: source.count)
            return
        }
        let sign = start + 2 < source.count && (source[start + 2] == "-" || source[start + 2] == "+") ? source[start + 2] : nil
        emitData(strippedText(upTo: start, sign: sign, isVariable: source[start + 1] == "{"))
        let tagEnd = start + (sign == nil ? 2 : 3)
        switch source[start + 1] {
        case "#":
            advance(to: tagEnd)
            try skipComment()
        case "%":
            if let rawEnd = endOfRawBegin(from: tagEnd) {
                advance(to: rawEnd)
                try scanRaw()
            } else {
                try scanTag(from: start, to: tagEnd, begin: .blockBegin)
            }
        default: try scanTag(from: start, to: tagEnd, begin: .variableBegin)
        }
    }

    private mutating func emitData(_ scalars: [Unicode.Scalar]) {
        guard !scalars.isEmpty else { return }
        var text = String.UnicodeScalarView()
        text.append(contentsOf: scalars)
        tokens.append(Token(kind: .data(String(text)), line: line))
    }

    /// The text from here to a delimiter, less the white space that the delimiter takes with it.
    private func strippedText(upTo end: Int, sign: Unicode.Scalar?, isVariable: Bool) -> [Unicode.Scalar] {
        var keep = end
        if sign == "-" {
            while keep > position, source[keep - 1].isPythonWhitespace { keep -= 1 }
        } else if sign != "+", !isVariable {
            var lineStart = end
            while lineStart > position, source[lineStart - 1] != "\n" { lineStart -= 1 }
            if lineStart > position || isAtLineStart, source[lineStart..<end].allSatisfy(\.isPythonWhitespace) { keep = lineStart }
        }
        return Array(source[position..<keep])
    }

    private mutating func skipComment() throws(ChatTemplateError) {
        var index = position
        while index + 1 < source.count, !(source[index] == "#" && source[index + 1] == "}") { index += 1 }
        // Jinja lets a comment be that opens at the very end.
        guard position < source.count else { return }
        guard index + 1 < source.count else { throw fail("a comment is not closed with #}") }
        let previous = index > position ? source[index - 1] : nil
        var end = index + 2
        if previous == "-" {
            end = skippingWhitespace(from: end)
        } else if previous != "+", end < source.count, source[end] == "\n" {
            end += 1
        }
        advance(to: end)
    }

    private func endOfRawBegin(from index: Int) -> Int? {
        let name = skippingWhitespace(from: index)
        guard starts(with: "raw", at: name) else { return nil }
        let close = skippingWhitespace(from: name + 3)
        if starts(with: "-%}", at: close) { return skippingWhitespace(from: close + 3) }
        return starts(with: "%}", at: close) ? close + 2 : nil
    }

    private mutating func scanRaw() throws(ChatTemplateError) {
        var start = position
        while start + 1 < source.count {
            defer { start += 1 }
            guard source[start] == "{", source[start + 1] == "%" else { continue }
            var index = start + 2
            let sign = index < source.count && (source[index] == "-" || source[index] == "+") ? source[index] : nil
            if sign != nil { index += 1 }
            index = skippingWhitespace(from: index)
            guard starts(with: "endraw", at: index) else { continue }
            index = skippingWhitespace(from: index + 6)
            guard let end = endOfBlock(at: index) else { continue }
            emitData(strippedText(upTo: start, sign: sign, isVariable: false))
            advance(to: end)
            return
        }
        guard position < source.count else { return }
        throw fail("a raw block is not closed with {% endraw %}")
    }

    // MARK: Tags

    /// Where a block's closing delimiter ends that starts at `index`, with the white space that it takes along.
    private func endOfBlock(at index: Int) -> Int? {
        if starts(with: "+%}", at: index) { return index + 3 }
        if starts(with: "-%}", at: index) { return skippingWhitespace(from: index + 3) }
        guard starts(with: "%}", at: index) else { return nil }
        return index + 2 < source.count && source[index + 2] == "\n" ? index + 3 : index + 2
    }

    private func endOfVariable(at index: Int) -> Int? {
        if starts(with: "-}}", at: index) { return skippingWhitespace(from: index + 3) }
        return starts(with: "}}", at: index) ? index + 2 : nil
    }

    private mutating func scanTag(from start: Int, to tagEnd: Int, begin: Token.Kind) throws(ChatTemplateError) {
        advance(to: start)
        tokens.append(Token(kind: begin, line: line))
        advance(to: tagEnd)
        openBrackets = []
        while position < source.count {
            if openBrackets.isEmpty {
                if let end = begin == .blockBegin ? endOfBlock(at: position) : endOfVariable(at: position) {
                    tokens.append(Token(kind: begin == .blockBegin ? .blockEnd : .variableEnd, line: line))
                    advance(to: end)
                    return
                }
            }
            try scanTagToken()
        }
    }

    mutating func scanSymbol() throws(ChatTemplateError) {
        guard let scalar = peek() else { return }
        guard let symbol = Self.symbol(scalar, peek(1)) else {
            throw fail("unexpected character \(String(scalar).pythonRepresentation)")
        }
        switch symbol {
        case .leftBrace: openBrackets.append(.rightBrace)
        case .leftParenthesis: openBrackets.append(.rightParenthesis)
        case .leftBracket: openBrackets.append(.rightBracket)
        case .rightBrace, .rightParenthesis, .rightBracket:
            guard let expected = openBrackets.popLast() else { throw fail("unexpected '\(symbol.rawValue)'") }
            guard expected == symbol else { throw fail("unexpected '\(symbol.rawValue)', expected '\(expected.rawValue)'") }
        default: break
        }
        tokens.append(Token(kind: .symbol(symbol), line: line))
        advance(to: position + symbol.rawValue.utf8.count)
    }

    private static func symbol(_ first: Unicode.Scalar, _ second: Unicode.Scalar?) -> Token.Symbol? {
        if let second, let symbol = Token.Symbol(rawValue: String(String.UnicodeScalarView([first, second]))) { return symbol }
        return Token.Symbol(rawValue: String(first))
    }
}
