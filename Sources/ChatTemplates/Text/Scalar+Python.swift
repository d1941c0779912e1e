/// How Python classifies a code point, where that differs from Swift.
extension Unicode.Scalar {
    /// `str.isspace`, which is also what `strip()`, `split()` and `\s` go by.
    var isPythonWhitespace: Bool {
        switch value {
        case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000: true
        default: false
        }
    }

    /// Where `str.splitlines` ends a line.
    var isPythonLineBreak: Bool {
        switch value {
        case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029: true
        default: false
        }
    }

    /// `str.isalpha`: a letter by general category.
    var isPythonAlphabetic: Bool {
        switch properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
        default: false
        }
    }

    /// `str.isdecimal`.
    var isPythonDecimal: Bool { properties.generalCategory == .decimalNumber }

    /// `str.isdigit`: decimal digits and those such as `²`.
    var isPythonDigit: Bool { properties.numericType == .decimal || properties.numericType == .digit }

    /// `str.isnumeric`.
    var isPythonNumeric: Bool { properties.numericType != nil }

    var isPythonAlphanumeric: Bool {
        if isASCII { return hexadecimalOrLetter }
        return isPythonAlphabetic || isPythonDecimal || isPythonDigit || isPythonNumeric
    }

    private var hexadecimalOrLetter: Bool {
        switch value {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: false
        }
    }

    /// What may stand in a name of a template, before the check that it is an identifier.
    var isPythonWordScalar: Bool { isPythonAlphanumeric || self == "_" || (!isASCII && properties.isXIDContinue) }

    /// `str.isprintable`: what `repr` leaves as it is.
    var isPythonPrintable: Bool {
        if isASCII { return value >= 0x20 && value < 0x7F }
        switch properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator, .spaceSeparator: return false
        default: return true
        }
    }

    var hexadecimalValue: Int? {
        switch self {
        case "0"..."9": Int(value) - 0x30
        case "a"..."f": Int(value) - 0x61 + 10
        case "A"..."F": Int(value) - 0x41 + 10
        default: nil
        }
    }

    /// The shortest of `\xNN`, `\uNNNN` and `\UNNNNNNNN`.
    var pythonEscape: String {
        func padded(_ count: Int) -> String {
            let digits = String(value, radix: 16)
            return String(repeating: "0", count: max(0, count - digits.utf8.count)) + digits
        }
        return value < 0x100 ? "\\x" + padded(2) : value < 0x10000 ? "\\u" + padded(4) : "\\U" + padded(8)
    }
}
