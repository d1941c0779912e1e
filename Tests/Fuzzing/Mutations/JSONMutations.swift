/// Changes that mostly leave the text JSON, so that they get past the grammar and meet the checks behind it.
enum JSONMutations {
    static let numbers = [
        "0", "-0", "1", "-1", "2", "3", "4", "5", "7", "8", "16", "63", "64", "65", "127", "128", "255", "256", "1.0", "1.5", "1e0", "1e3", "1e308",
        "1e309",
        "1e-400", "-1e999", "65535", "65536", "2147483647", "2147483648", "4294967295", "4294967296", "9007199254740993", "1152921504606846976",
        "4611686018427387903", "4611686018427387904", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
        "18446744073709551615", "18446744073709551616", "123456789012345678901234567890", "0.1e-1", "1E+2", "01", "1.", "NaN", "-",
    ]
    static let values = [
        "null", "true", "false", "{}", "[]", "\"\"", "\"a\"", "[0]", "[[]]", "{\"a\":0}", "[0,4]", "[null]", "[\"a\",1]", "[1,2,3,4,5]",
        "\"\\ud83d\\ude00\"",
        "\"\\ud800\"", "\"\\u0000\"", "tru", "nulll", "'a'", "[1,]", "{\"a\":1,}", "{\"a\":1,\"a\":2}",
    ]

    static func mutate(_ input: inout [UInt8], _ random: inout FuzzRandom, _ target: FuzzTarget) {
        let json = JSONTokens(input)
        guard !json.tokens.isEmpty, input.count < 1 << 16, random.chance(7, in: 8) else {
            return ByteMutations.mutate(&input, &random, target)
        }
        let index = random.below(json.tokens.count)
        let token = json.tokens[index]
        if json.isKey(index), random.chance(1, in: 2) {
            mutateMember(index, of: json, &input, &random, target)
        } else if token.kind == .string {
            mutateString(token.range, &input, &random, target)
        } else if token.kind == .scalar, random.chance(2, in: 3) {
            mutateNumber(token.range, &input, &random)
        } else if json.isValue(index) {
            mutateValue(index, of: json, &input, &random, target)
        } else if random.chance(1, in: 3) {
            // A bracket, comma or colon goes or comes twice; rarely, since all that shows is the grammar.
            let bytes = Array(input[token.range])
            input.replaceSubrange(token.range, with: random.chance(1, in: 2) ? [] : bytes + bytes)
        } else {
            input.insert(
                contentsOf: Array(random.pick([" ", "\n", "\t", "\r", "  ", "\u{A0}", "\u{FEFF}", "\u{C}"]).utf8), at: token.range.lowerBound)
        }
    }

    private static func mutateMember(
        _ index: Int, of json: JSONTokens, _ input: inout [UInt8], _ random: inout FuzzRandom, _ target: FuzzTarget
    ) {
        let range = json.memberRange(index)
        let member = Array(input[range])
        switch random.below(4) {
        case 0: input.insert(contentsOf: member + [UInt8(ascii: ",")], at: range.lowerBound)
        case 1:
            // Gone with the comma behind it, where there is one.
            let end = range.upperBound < input.count && input[range.upperBound] == UInt8(ascii: ",") ? range.upperBound + 1 : range.upperBound
            input.removeSubrange(range.lowerBound..<end)
        case 2:
            // The same key with another's value.
            let other = random.below(json.tokens.count)
            if json.isValue(other) {
                input.replaceSubrange(
                    json.tokens[index].range.upperBound..<range.upperBound, with: [UInt8(ascii: ":")] + input[json.valueRange(other)])
            }
        default:
            let key = quoted(target.dictionary.isEmpty ? "key" : random.pick(target.dictionary))
            let value = Array(random.pick(random.chance(1, in: 2) ? values : numbers).utf8)
            input.insert(contentsOf: key + [UInt8(ascii: ":")] + value + [UInt8(ascii: ",")], at: range.lowerBound)
        }
    }

    private static func mutateString(_ range: Range<Int>, _ input: inout [UInt8], _ random: inout FuzzRandom, _ target: FuzzTarget) {
        let inner = min(range.lowerBound + 1, range.upperBound)..<max(range.lowerBound + 1, range.upperBound - 1)
        guard inner.upperBound <= input.count else { return }
        let place = inner.lowerBound + random.below(inner.count + 1)
        switch random.below(8) {
        case 0,
            1 where !target.dictionary.isEmpty:
            input.replaceSubrange(inner, with: Array(random.pick(target.dictionary).utf8))
        case 2: input.insert(contentsOf: random.pick(TextMutations.pieces), at: place)
        case 3:
            let escapes = [
                "\\n", "\\u0041", "\\ud83d\\ude00", "\\ud800", "\\udc00", "\\u00", "\\x", "\\", "\\\"", "\\/", "\\u0000", "/", "..", "../", "\"",
            ]
            input.insert(contentsOf: Array(random.pick(escapes).utf8), at: place)
        case 4:
            input.insert(contentsOf: repeatElement(random.pick(TextMutations.pieces), count: random.pick([2, 40, 100, 5000])).joined(), at: place)
        case 5: input.replaceSubrange(inner, with: [])
        case 6 where !inner.isEmpty: input[inner.lowerBound + random.below(inner.count)] ^= 1 << UInt8(random.below(8))
        default: input.removeSubrange(place..<min(inner.upperBound, place + random.below(4)))
        }
    }

    private static func mutateNumber(_ range: Range<Int>, _ input: inout [UInt8], _ random: inout FuzzRandom) {
        let text = String(decoding: input[range], as: UTF8.self)
        let replacement: String
        if let value = Int(text), random.chance(1, in: 2) {
            let (near, overflow) = value.addingReportingOverflow(random.pick([-8, -4, -2, -1, 1, 2, 4, 8]))
            let (double, isLarge) = value.multipliedReportingOverflow(by: 2)
            replacement = random.chance(3, in: 4) ? (overflow ? "0" : "\(near)") : (isLarge ? "1" : "\(double)")
        } else {
            replacement = random.pick(numbers)
        }
        input.replaceSubrange(range, with: Array(replacement.utf8))
    }

    private static func mutateValue(
        _ index: Int, of json: JSONTokens, _ input: inout [UInt8], _ random: inout FuzzRandom, _ target: FuzzTarget
    ) {
        let range = json.valueRange(index)
        let value = Array(input[range])
        let replacement: [UInt8]
        switch random.below(6) {
        case 0: replacement = Array(random.pick(values).utf8)
        case 1: replacement = Array(random.pick(numbers).utf8)
        case 2: replacement = value + [UInt8(ascii: ",")] + value
        case 3:
            let depth = random.pick([1, 2, 3, 100, 126, 127, 128, 129, 4000])
            let (open, close) = random.chance(1, in: 2) ? ("[", "]") : ("{\"a\":", "}")
            let closing = random.chance(3, in: 4) ? depth : random.below(depth)
            replacement = Array(String(repeating: open, count: depth).utf8) + value + Array(String(repeating: close, count: closing).utf8)
        case 4:
            let seed = random.pick(target.seeds)
            let other = JSONTokens(seed)
            let place = random.below(other.tokens.count)
            replacement = other.tokens.isEmpty || !other.isValue(place) ? value : Array(seed[other.valueRange(place)])
        default:
            let other = random.below(json.tokens.count)
            replacement = json.isValue(other) ? Array(input[json.valueRange(other)]) : []
        }
        input.replaceSubrange(range, with: replacement)
    }

    /// Repeats a member under ever new keys, or a value, until the text is nearly of so many bytes.
    static func amplify(_ input: inout [UInt8], _ random: inout FuzzRandom, _ byteCount: Int) {
        let json = JSONTokens(input)
        guard !json.tokens.isEmpty, input.count < byteCount else { return }
        let index = random.below(json.tokens.count)
        var copies: [UInt8] = []
        copies.reserveCapacity(byteCount)
        let room = byteCount - input.count
        if json.isKey(index), random.chance(3, in: 4) {
            let member = json.memberRange(index)
            let rest = input[json.tokens[index].range.upperBound..<member.upperBound]
            var number = 0
            while copies.count < room {
                copies += quoted(String(number, radix: 36)) + rest + [UInt8(ascii: ",")]
                number += 1
            }
            input.insert(contentsOf: copies, at: member.lowerBound)
        } else if json.isValue(index) {
            let range = json.valueRange(index)
            while copies.count < room { copies += input[range] + [UInt8(ascii: ",")] }
            input.insert(contentsOf: copies, at: range.lowerBound)
        } else {
            ByteMutations.amplify(&input, &random, byteCount)
        }
    }

    private static func quoted(_ text: String) -> [UInt8] { Array("\"\(text)\"".utf8) }
}

extension FuzzFormat {
    static let json = FuzzFormat(mutate: JSONMutations.mutate, amplify: JSONMutations.amplify)
}
