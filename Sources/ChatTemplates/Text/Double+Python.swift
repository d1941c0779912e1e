/// Floating-point numbers as Python prints, rounds and reads them.
extension Double {
    /// `repr(float)`: the shortest digits that read back as the same number, with an exponent below 1e-4 and from 1e16 on.
    var pythonRepresentation: String {
        if isNaN { return "nan" }
        if isInfinite { return self < 0 ? "-inf" : "inf" }
        let sign = self.sign == .minus ? "-" : ""
        if isZero { return sign + "0.0" }
        // Swift finds the same shortest digits; only their layout differs.
        var digits: [UInt8] = []
        var (pointPosition, exponent, sawPoint) = (0, 0, false)
        let text = Array(magnitude.description.utf8)
        for (index, byte) in text.enumerated() {
            switch byte {
            case UInt8(ascii: "."): sawPoint = true
            case UInt8(ascii: "e"): exponent = Int(String(utf8Bytes: text[(index + 1)...].drop { $0 == UInt8(ascii: "+") })) ?? 0
            case UInt8(ascii: "0")...UInt8(ascii: "9") where !text[..<index].contains(UInt8(ascii: "e")):
                digits.append(byte)
                if !sawPoint { pointPosition += 1 }
            default: break
            }
        }
        while digits.count > 1, digits.last == UInt8(ascii: "0") { digits.removeLast() }
        while digits.count > 1, digits.first == UInt8(ascii: "0") {
            digits.removeFirst()
            pointPosition -= 1
        }
        return sign + Self.layOut(digits: digits, pointPosition: pointPosition + exponent)
    }

    /// `digits` with the decimal point behind the first `pointPosition` of them.
    private static func layOut(digits: [UInt8], pointPosition: Int) -> String {
        let text = String(utf8Bytes: digits)
        if pointPosition > 16 || pointPosition < -3 {
            let fraction = digits.count > 1 ? "." + String(utf8Bytes: digits.dropFirst()) : ""
            return String(utf8Bytes: digits.prefix(1)) + fraction + exponentText(pointPosition - 1)
        }
        if pointPosition <= 0 { return "0." + String(repeating: "0", count: -pointPosition) + text }
        if pointPosition >= digits.count { return text + String(repeating: "0", count: pointPosition - digits.count) + ".0" }
        return String(utf8Bytes: digits.prefix(pointPosition)) + "." + String(utf8Bytes: digits.dropFirst(pointPosition))
    }

    /// `e+16`, `e-05`: at least two digits.
    static func exponentText(_ exponent: Int) -> String {
        let digits = String(exponent.magnitude)
        return (exponent < 0 ? "e-" : "e+") + (digits.utf8.count < 2 ? "0" + digits : digits)
    }

    /// `float(text)`: nil where Python raises `ValueError`.
    init?(pythonText text: String) {
        var bytes = Array(text.stripped(nil).withASCIIDigits.utf8)
        let lowered = String(utf8Bytes: bytes).pythonLowercased
        switch lowered.utf8.first == UInt8(ascii: "-") || lowered.utf8.first == UInt8(ascii: "+") ? String(lowered.dropFirst()) : lowered {
        case "inf", "infinity":
            self = lowered.utf8.first == UInt8(ascii: "-") ? -.infinity : .infinity
            return
        case "nan":
            self = .nan
            return
        default: break
        }
        guard Self.removeUnderscores(&bytes) else { return nil }
        // Digits, an optional point and exponent, nothing of what else Swift would read (hexadecimal, for one).
        var index = 0
        func digits() -> Int {
            let start = index
            while index < bytes.count, bytes[index] >= 0x30, bytes[index] <= 0x39 { index += 1 }
            return index - start
        }
        if index < bytes.count, bytes[index] == UInt8(ascii: "+") || bytes[index] == UInt8(ascii: "-") { index += 1 }
        var count = digits()
        if index < bytes.count, bytes[index] == UInt8(ascii: ".") {
            index += 1
            count += digits()
        }
        guard count > 0 else { return nil }
        if index < bytes.count, bytes[index] | 0x20 == UInt8(ascii: "e") {
            index += 1
            if index < bytes.count, bytes[index] == UInt8(ascii: "+") || bytes[index] == UInt8(ascii: "-") { index += 1 }
            guard digits() > 0 else { return nil }
        }
        guard index == bytes.count, let value = Double(String(utf8Bytes: bytes)) else { return nil }
        self = value
    }

    /// Drops single underscores between digits; false where one stands elsewhere.
    static func removeUnderscores(_ bytes: inout [UInt8], isDigit: (UInt8) -> Bool = { $0 >= 0x30 && $0 <= 0x39 }) -> Bool {
        guard bytes.contains(UInt8(ascii: "_")) else { return true }
        for (index, byte) in bytes.enumerated() where byte == UInt8(ascii: "_") {
            guard index > 0, index + 1 < bytes.count, isDigit(bytes[index - 1]), isDigit(bytes[index + 1]) else { return false }
        }
        bytes.removeAll { $0 == UInt8(ascii: "_") }
        return true
    }
}

extension String {
    /// Decimal digits of all scripts as ASCII, which `int` and `float` read alike.
    fileprivate var withASCIIDigits: String {
        if utf8.allSatisfy({ $0 < 0x80 }) { return self }
        return String(
            scalars: unicodeScalars.map { scalar in
                guard scalar.isPythonDecimal, let digit = scalar.properties.numericValue, digit >= 0, digit < 10 else { return scalar }
                return Unicode.Scalar(UInt8(digit) + 0x30)
            })
    }
}

extension Int {
    /// `int(text, radix)`: nil where Python raises `ValueError`.
    static func pythonParsed(_ text: String, radix: Int) throws -> Int? {
        guard radix == 0 || (2...36).contains(radix) else { throw Failure.value("int() base must be >= 2 and <= 36, or 0") }
        var bytes = Array(text.stripped(nil).withASCIIDigits.utf8)
        var (isNegative, radix) = (false, radix)
        if let sign = bytes.first, sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") {
            isNegative = sign == UInt8(ascii: "-")
            bytes.removeFirst()
        }
        if bytes.count >= 2, bytes[0] == UInt8(ascii: "0") {
            let marker = bytes[1] | 0x20
            let prefixRadix = marker == UInt8(ascii: "x") ? 16 : marker == UInt8(ascii: "o") ? 8 : marker == UInt8(ascii: "b") ? 2 : 0
            if prefixRadix != 0, radix == 0 || radix == prefixRadix {
                radix = prefixRadix
                bytes.removeFirst(2)
                if bytes.first == UInt8(ascii: "_") { bytes.removeFirst() }
            }
        }
        if radix == 0 {
            if bytes.first == UInt8(ascii: "0"), bytes.contains(where: { $0 != UInt8(ascii: "0") && $0 != UInt8(ascii: "_") }) { return nil }
            radix = 10
        }
        let base = radix
        let isDigit: (UInt8) -> Bool = { $0 < 0x80 && Int(String(Unicode.Scalar($0)), radix: base) != nil }
        guard Double.removeUnderscores(&bytes, isDigit: isDigit), let first = bytes.first, first != UInt8(ascii: "+"), first != UInt8(ascii: "-")
        else {
            return nil
        }
        let digits = String(utf8Bytes: bytes)
        guard bytes.allSatisfy(isDigit) else { return nil }
        guard let value = Int((isNegative ? "-" : "") + digits, radix: base) else { throw Failure.integerRange }
        return value
    }
}
