/// Names, numbers and strings inside a tag.
extension Lexer {
    mutating func scanTagToken() throws(ChatTemplateError) {
        guard let scalar = peek() else { return }
        if scalar.isPythonWhitespace {
            advance(to: position + 1)
        } else if ("0"..."9").contains(scalar) {
            try scanNumber()
        } else if scalar == "_" || scalar.isPythonWordScalar {
            try scanName()
        } else if scalar == "'" || scalar == "\"" {
            try scanString(quote: scalar)
        } else {
            try scanSymbol()
        }
    }

    private mutating func scanName() throws(ChatTemplateError) {
        var end = position
        while end < source.count, source[end] == "_" || source[end].isPythonWordScalar { end += 1 }
        let name = source[position..<end]
        let isIdentifier =
            name.first.map { $0 == "_" || $0.properties.isXIDStart } == true && name.dropFirst().allSatisfy { $0.properties.isXIDContinue }
        guard isIdentifier else { throw fail("invalid character in the name \(text(position..<end).pythonRepresentation)") }
        // Names are keys of dictionaries; hashing puts a run of combining marks in order, in time quadratic in its length.
        guard name.count <= Self.longestName else {
            throw ChatTemplateError(.limit, line: line, "a name is longer than \(Self.longestName) characters")
        }
        tokens.append(Token(kind: .name(text(position..<end)), line: line))
        advance(to: end)
    }

    private static let longestName = 256

    func text(_ range: Range<Int>) -> String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: source[range])
        return String(view)
    }

    // MARK: Numbers

    private mutating func scanNumber() throws(ChatTemplateError) {
        if peek(-1) != ".", let end = endOfFloat() {
            let digits = text(position..<end).filter { $0 != "_" }
            guard let value = Double(digits), value.isFinite else {
                throw ChatTemplateError(.unsupported, line: line, "the number \(digits) does not fit a double")
            }
            tokens.append(Token(kind: .float(value), line: line))
            advance(to: end)
            return
        }
        var (end, radix) = (position, 10)
        if source[position] == "0", let marker = peek(1) {
            switch marker {
            case "x", "X": radix = 16
            case "o", "O": radix = 8
            case "b", "B": radix = 2
            default: break
            }
        }
        if radix != 10, let prefixed = endOfDigits(from: position + 2, radix: radix, mayStartWithUnderscore: true) {
            end = prefixed
        } else {
            radix = 10
            // A zero is followed by zeros only: `007` is 0, 0 and 7 to the grammar, which then refuses it.
            let isZero = source[position] == "0"
            end = position + 1
            while end < source.count {
                let next = source[end] == "_" && end + 1 < source.count ? end + 1 : end
                guard isZero ? source[next] == "0" : ("0"..."9").contains(source[next]) else { break }
                end = next + 1
            }
        }
        let digits = text((radix == 10 ? position : position + 2)..<end).filter { $0 != "_" }
        guard let value = Int(digits, radix: radix) else {
            throw ChatTemplateError(.integerRange, line: line, "the number \(text(position..<end)) does not fit 64 bits")
        }
        tokens.append(Token(kind: .integer(value), line: line))
        advance(to: end)
    }

    private func endOfDigits(from start: Int, radix: Int, mayStartWithUnderscore: Bool = false) -> Int? {
        var end: Int?
        var index = start
        while index < source.count {
            if source[index] == "_", index > start || mayStartWithUnderscore { index += 1 }
            guard index < source.count, let digit = source[index].hexadecimalValue, digit < radix else { break }
            index += 1
            end = index
        }
        return end
    }

    /// `1.5`, `1e3` or `1.5e-3`; nil where an integer stands.
    private func endOfFloat() -> Int? {
        guard let whole = endOfDigits(from: position, radix: 10) else { return nil }
        var end = whole
        var isFloat = false
        if whole < source.count, source[whole] == ".", let fraction = endOfDigits(from: whole + 1, radix: 10) {
            (end, isFloat) = (fraction, true)
        }
        if end < source.count, source[end] == "e" || source[end] == "E" {
            var digits = end + 1
            if digits < source.count, source[digits] == "+" || source[digits] == "-" { digits += 1 }
            if let exponent = endOfDigits(from: digits, radix: 10) { (end, isFloat) = (exponent, true) }
        }
        return isFloat ? end : nil
    }

    // MARK: Strings

    private mutating func scanString(quote: Unicode.Scalar) throws(ChatTemplateError) {
        var end = position + 1
        while end < source.count, source[end] != quote { end += source[end] == "\\" ? 2 : 1 }
        guard end < source.count else { throw fail("unexpected character \(String(quote).pythonRepresentation)") }
        let value = try unescaped(position + 1..<end)
        tokens.append(Token(kind: .string(value), line: line))
        advance(to: end + 1)
    }

    /// Python's `unicode-escape`: unknown escapes stay as they are.
    private func unescaped(_ range: Range<Int>) throws(ChatTemplateError) -> String {
        var result = String.UnicodeScalarView()
        var index = range.lowerBound
        while index < range.upperBound {
            guard source[index] == "\\", index + 1 < range.upperBound else {
                result.append(source[index])
                index += 1
                continue
            }
            let escape = source[index + 1]
            index += 2
            switch escape {
            case "\n": break
            case "\\", "'", "\"": result.append(escape)
            case "a": result.append("\u{07}")
            case "b": result.append("\u{08}")
            case "f": result.append("\u{0C}")
            case "n": result.append("\n")
            case "r": result.append("\r")
            case "t": result.append("\t")
            case "v": result.append("\u{0B}")
            case "0"..."7":
                var value = escape.value - 48
                var count = 1
                while count < 3, index < range.upperBound, ("0"..."7").contains(source[index]) {
                    value = value * 8 + (source[index].value - 48)
                    index += 1
                    count += 1
                }
                result.append(try scalar(value))
            case "x", "u", "U":
                let count = escape == "x" ? 2 : escape == "u" ? 4 : 8
                var value: UInt32 = 0
                for _ in 0..<count {
                    guard index < range.upperBound, let digit = source[index].hexadecimalValue, value < 0x1000_0000 else {
                        throw fail("a \\\(escape) escape needs \(count) hexadecimal digits")
                    }
                    value = value * 16 + UInt32(digit)
                    index += 1
                }
                result.append(try scalar(value))
            case "N": throw ChatTemplateError(.unsupported, line: line, "a character by its name (\\N) is not supported")
            default:
                result.append("\\")
                if escape.isASCII {
                    result.append(escape)
                } else {
                    // Python writes the character as an escape first, whose backslash the one before it then swallows.
                    for scalar in escape.pythonEscape.unicodeScalars.dropFirst() { result.append(scalar) }
                }
            }
        }
        return String(result)
    }

    private func scalar(_ value: UInt32) throws(ChatTemplateError) -> Unicode.Scalar {
        if let scalar = Unicode.Scalar(value) { return scalar }
        throw value <= 0x10FFFF
            ? ChatTemplateError(.unsupported, line: line, "a lone surrogate in a string is not supported")
            : fail("illegal Unicode character in a string")
    }
}
