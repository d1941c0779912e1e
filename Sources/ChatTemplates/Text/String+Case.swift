/// Upper, lower and title case as Python's `str` does it: full mappings of code points, and the Greek final sigma.
extension String {
    init(scalars: some Sequence<Unicode.Scalar>) {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        self.init(view)
    }

    var pythonUppercased: String {
        var result = ""
        result.reserveCapacity(utf8.count)
        for scalar in unicodeScalars {
            if scalar.isASCII {
                let isLower = scalar.value >= 0x61 && scalar.value <= 0x7A
                result.unicodeScalars.append(isLower ? Unicode.Scalar(UInt8(scalar.value - 0x20)) : scalar)
            } else {
                result += scalar.properties.uppercaseMapping
            }
        }
        return result
    }

    var pythonLowercased: String {
        let scalars = Array(unicodeScalars)
        var result = String.UnicodeScalarView()
        for index in scalars.indices { Self.appendLowercase(of: index, in: scalars, to: &result) }
        return String(result)
    }

    /// First code point in title case, the rest in lower case.
    var pythonCapitalized: String {
        let scalars = Array(unicodeScalars)
        var result = String.UnicodeScalarView()
        for index in scalars.indices {
            if index == 0 {
                result.append(text: scalars[0].properties.titlecaseMapping)
            } else {
                Self.appendLowercase(of: index, in: scalars, to: &result)
            }
        }
        return String(result)
    }

    /// `str.title`: every run of cased code points begins in title case.
    var pythonTitled: String {
        let scalars = Array(unicodeScalars)
        var result = String.UnicodeScalarView()
        var previousIsCased = false
        for (index, scalar) in scalars.enumerated() {
            if previousIsCased {
                Self.appendLowercase(of: index, in: scalars, to: &result)
            } else {
                result.append(text: scalar.properties.titlecaseMapping)
            }
            previousIsCased = scalar.properties.isCased
        }
        return String(result)
    }

    var pythonSwapcased: String {
        let scalars = Array(unicodeScalars)
        var result = String.UnicodeScalarView()
        for (index, scalar) in scalars.enumerated() {
            if scalar.properties.isUppercase {
                Self.appendLowercase(of: index, in: scalars, to: &result)
            } else if scalar.properties.isLowercase {
                result.append(text: scalar.properties.uppercaseMapping)
            } else {
                result.append(scalar)
            }
        }
        return String(result)
    }

    private static func appendLowercase(of index: Int, in scalars: [Unicode.Scalar], to result: inout String.UnicodeScalarView) {
        let scalar = scalars[index]
        if scalar.isASCII {
            let isUpper = scalar.value >= 0x41 && scalar.value <= 0x5A
            result.append(isUpper ? Unicode.Scalar(UInt8(scalar.value + 0x20)) : scalar)
        } else if scalar == "\u{03A3}" {
            result.append(isFinalSigma(index, in: scalars) ? "\u{03C2}" : "\u{03C3}")
        } else {
            result.append(text: scalar.properties.lowercaseMapping)
        }
    }

    /// A sigma ends a word when a cased letter stands before it and none behind it, case-ignorable code points left aside.
    private static func isFinalSigma(_ index: Int, in scalars: [Unicode.Scalar]) -> Bool {
        var before = index - 1
        while before >= 0, scalars[before].properties.isCaseIgnorable { before -= 1 }
        guard before >= 0, scalars[before].properties.isCased else { return false }
        var after = index + 1
        while after < scalars.count, scalars[after].properties.isCaseIgnorable { after += 1 }
        return after == scalars.count || !scalars[after].properties.isCased
    }

    /// `str.islower` and `str.isupper`: at least one cased code point, none of the other case.
    func pythonHasOnlyCase(lower: Bool) -> Bool {
        var found = false
        for scalar in unicodeScalars {
            let properties = scalar.properties
            if lower
                ? properties.isUppercase || properties.generalCategory == .titlecaseLetter
                : properties.isLowercase || properties.generalCategory == .titlecaseLetter
            {
                return false
            }
            if lower ? properties.isLowercase : properties.isUppercase { found = true }
        }
        return found
    }

    var pythonIsTitle: Bool {
        var (found, previousIsCased) = (false, false)
        for scalar in unicodeScalars {
            let properties = scalar.properties
            if properties.isUppercase || properties.generalCategory == .titlecaseLetter {
                if previousIsCased { return false }
                (found, previousIsCased) = (true, true)
            } else if properties.isLowercase {
                if !previousIsCased { return false }
                (found, previousIsCased) = (true, true)
            } else {
                previousIsCased = false
            }
        }
        return found
    }
}

extension String.UnicodeScalarView {
    /// Scalar by scalar, since `append(contentsOf:)` copies all that is there already.
    mutating func append(text: String) {
        for scalar in text.unicodeScalars { append(scalar) }
    }
}
