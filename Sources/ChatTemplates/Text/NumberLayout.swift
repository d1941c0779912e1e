/// Width, sign, padding and precision of a formatted number or text, for both of Python's format languages.
struct NumberLayout {
    var fill: Unicode.Scalar = " "
    /// `<`, `>`, `^` or `=`; nil for what the type does by itself.
    var alignment: Unicode.Scalar?
    var sign: Unicode.Scalar = "-"
    var fillsWithZeros = false
    var width: Int?
    var precision: Int?
    var groupsThousands = false

    func pad(_ text: String, defaultAlignment: Unicode.Scalar, _ renderer: Renderer) throws -> String {
        guard let width else { return text }
        let name =
            switch alignment ?? defaultAlignment {
            case "<": "ljust"
            case "^": "format"
            default: "rjust"
            }
        guard name == "format" else { return try renderer.padded(text, to: width, with: fill, name) }
        // The odd place goes to the right here, other than in `str.center`.
        let missing = max(0, width - text.scalarCount)
        try renderer.charge(textByteCount: missing)
        return String(repeating: String(fill), count: missing / 2) + text + String(repeating: String(fill), count: missing - missing / 2)
    }

    func layOut(_ value: Int, radix: Int, isUppercase: Bool, _ renderer: Renderer) throws -> String {
        var digits = String(value.magnitude, radix: radix, uppercase: isUppercase)
        if let precision { digits = try renderer.padded(digits, to: precision, with: "0", "rjust") }
        return try finish(isNegative: value < 0, digits, renderer)
    }

    func layOut(_ value: Double, _ renderer: Renderer) throws -> String {
        guard value.isFinite else {
            return try NumberLayout(copying: self, zeros: false).finish(isNegative: value < 0, value.isNaN ? "nan" : "inf", renderer)
        }
        let places = precision ?? 6
        guard places <= DecimalExpansion.maximumPlaces else { throw Failure.limit("a precision above \(DecimalExpansion.maximumPlaces) is too big") }
        try renderer.charge(places + 64)
        return try finish(isNegative: value.sign == .minus, DecimalExpansion(value, places: places).text, renderer)
    }

    private init(copying other: NumberLayout, zeros: Bool) {
        self = other
        fillsWithZeros = zeros
    }

    init() {}

    private func finish(isNegative: Bool, _ digits: String, _ renderer: Renderer) throws -> String {
        let sign = isNegative ? "-" : self.sign == "-" ? "" : String(self.sign)
        var digits = digits
        if groupsThousands {
            if fillsWithZeros { throw Failure.unsupported("zero padding with a thousands separator is not supported") }
            digits = Self.grouped(digits)
        }
        if fillsWithZeros, alignment == nil, let width {
            return sign + (try renderer.padded(digits, to: width - sign.utf8.count, with: "0", "rjust"))
        }
        if alignment == "=", let width { return sign + (try renderer.padded(digits, to: width - sign.utf8.count, with: fill, "rjust")) }
        return try pad(sign + digits, defaultAlignment: ">", renderer)
    }

    private static func grouped(_ digits: String) -> String {
        let bytes = Array(digits.utf8)
        let wholeCount = bytes.firstIndex(of: UInt8(ascii: ".")) ?? bytes.count
        var result: [UInt8] = []
        for (index, byte) in bytes.enumerated() {
            if index > 0, index < wholeCount, (wholeCount - index) % 3 == 0 { result.append(UInt8(ascii: ",")) }
            result.append(byte)
        }
        return String(utf8Bytes: result)
    }
}

extension Renderer {
    /// The value as a double where Python's `float` takes a number.
    func double(_ value: Value) -> Double? {
        if case .double(let number) = value { return number }
        return value.index.map(Double.init)
    }

    /// `int(float)`.
    func integer(truncating number: Double) throws -> Int {
        guard !number.isNaN else { throw Failure.value("cannot convert float NaN to integer") }
        guard number.isFinite else { throw Failure.value("cannot convert float infinity to integer") }
        guard let integer = Int(exactly: number.rounded(.towardZero)) else { throw Failure.integerRange }
        return integer
    }
}
