extension String {
    /// `repr(str)`: single quotes unless only they occur in the text.
    var pythonRepresentation: String {
        let hasSingle = utf8.contains(UInt8(ascii: "'"))
        let quote: Unicode.Scalar = hasSingle && !utf8.contains(UInt8(ascii: "\"")) ? "\"" : "'"
        var result = ""
        result.reserveCapacity(utf8.count + 2)
        result.unicodeScalars.append(quote)
        for scalar in unicodeScalars {
            switch scalar {
            case quote, "\\":
                result.unicodeScalars.append("\\")
                result.unicodeScalars.append(scalar)
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            default:
                if scalar.isPythonPrintable {
                    result.unicodeScalars.append(scalar)
                } else {
                    result += scalar.pythonEscape
                }
            }
        }
        result.unicodeScalars.append(quote)
        return result
    }

    /// What `markupsafe.escape` makes of a text.
    var markupEscaped: String {
        var result = ""
        result.reserveCapacity(utf8.count)
        for scalar in unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "'": result += "&#39;"
            case "\"": result += "&#34;"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
