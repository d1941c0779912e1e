/// No decoder in the file: tokens with a space between them.
struct JoinStage: DecoderStage {
    private var isFirst = true

    mutating func take(_ token: [UInt8], to output: inout [[UInt8]]) {
        output.append(isFirst ? token : [0x20] + token)
        isFirst = false
    }
}

/// `ByteLevel`: characters of the byte alphabet back to bytes, which need not be UTF-8 yet.
struct ByteLevelStage: DecoderStage {
    mutating func take(_ token: [UInt8], to output: inout [[UInt8]]) {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(token.count)
        ByteAlphabet.appendDecoded(token, to: &bytes)
        output.append(bytes)
    }
}

/// `ByteFallback`: a run of tokens `<0xHH>` becomes its text, or one U+FFFD a byte where the run as a whole is not UTF-8.
///
/// A run that may still be UTF-8 is held back until it ends, for its last byte decides about all of it.
struct ByteFallbackStage: DecoderStage {
    private var run: [UInt8] = []
    private var state = UTF8State()
    private var isBroken = false

    mutating func take(_ token: [UInt8], to output: inout [[UInt8]]) {
        guard let byte = Self.byte(of: token) else {
            finish(to: &output)
            output.append(token)
            return
        }
        if !isBroken {
            run.append(byte)
            guard !state.accepts(byte) else { return }
            isBroken = true
            for _ in run { output.append(UTF8State.replacement) }
            run.removeAll()
            return
        }
        output.append(UTF8State.replacement)
    }

    mutating func finish(to output: inout [[UInt8]]) {
        if !run.isEmpty {
            if state.isComplete {
                output.append(run)
            } else {
                for _ in run { output.append(UTF8State.replacement) }
            }
        }
        run.removeAll()
        state = UTF8State()
        isBroken = false
    }

    /// The byte that `<0xHH>` names. One digit behind a plus sign counts too, as Rust's number parser has it.
    static func byte(of token: [UInt8]) -> UInt8? {
        guard token.count == 6, token[0] == UInt8(ascii: "<"), token[1] == UInt8(ascii: "0"), token[2] == UInt8(ascii: "x"),
            token[5] == UInt8(ascii: ">"), let low = hexadecimal(token[4])
        else { return nil }
        if token[3] == UInt8(ascii: "+") { return low }
        guard let high = hexadecimal(token[3]) else { return nil }
        return high << 4 | low
    }

    private static func hexadecimal(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

/// `Replace` in each token, or of a single scalar anywhere.
struct ReplaceStage: DecoderStage {
    let pattern: TextPattern
    let content: [UInt8]

    mutating func take(_ token: [UInt8], to output: inout [[UInt8]]) {
        output.append(pattern.replacingMatches(in: token, with: content) ?? token)
    }
}

/// `Strip`: up to `start` scalars off the front of each token and up to `stop` off its end.
struct StripStage: DecoderStage {
    let scalar: [UInt8]
    let start: Int
    let stop: Int

    mutating func take(_ token: [UInt8], to output: inout [[UInt8]]) {
        var lower = 0
        var upper = token.count
        for _ in 0..<start {
            guard token[lower...].starts(with: scalar) else { break }
            lower += scalar.count
        }
        for _ in 0..<stop {
            guard upper - lower >= scalar.count, token[upper - scalar.count..<upper].elementsEqual(scalar) else { break }
            upper -= scalar.count
        }
        output.append(lower == 0 && upper == token.count ? token : Array(token[lower..<upper]))
    }
}

/// `Strip` where all tokens are one: the front is taken off once, and what may be the end is held back.
struct FusedStripStage: DecoderStage {
    let scalar: [UInt8]
    var start: Int
    let stop: Int
    /// Scalars at the end of the text so far that may have to go, at most `stop` of them.
    private var held = 0

    init(scalar: [UInt8], start: Int, stop: Int) {
        self.scalar = scalar
        self.start = start
        self.stop = stop
    }

    mutating func take(_ token: [UInt8], to output: inout [[UInt8]]) {
        var lower = 0
        while start > 0, lower < token.count {
            guard token[lower...].starts(with: scalar) else {
                start = 0
                break
            }
            lower += scalar.count
            start -= 1
        }
        guard lower < token.count else { return }
        guard stop > 0 else {
            output.append(lower == 0 ? token : Array(token[lower...]))
            return
        }
        var upper = token.count
        var trailing = 0
        while trailing < stop, upper - lower >= scalar.count, token[upper - scalar.count..<upper].elementsEqual(scalar) {
            upper -= scalar.count
            trailing += 1
        }
        if upper > lower {
            release(held, to: &output)
            output.append(Array(token[lower..<upper]))
            held = trailing
        } else {
            held += trailing
            if held > stop {
                release(held - stop, to: &output)
                held = stop
            }
        }
    }

    private func release(_ count: Int, to output: inout [[UInt8]]) {
        for _ in 0..<count { output.append(scalar) }
    }
}

/// `Metaspace`: the replacement becomes a space, and in the first token nothing.
struct MetaspaceStage: DecoderStage {
    let replacement: [UInt8]
    let dropsFirst: Bool
    /// All tokens are one: each part is of the first token.
    let isFused: Bool
    private var isFirst = true

    init(replacement: [UInt8], dropsFirst: Bool, isFused: Bool) {
        self.replacement = replacement
        self.dropsFirst = dropsFirst
        self.isFused = isFused
    }

    mutating func take(_ token: [UInt8], to output: inout [[UInt8]]) {
        let content: [UInt8] = isFirst && dropsFirst ? [] : [0x20]
        if !isFused { isFirst = false }
        output.append(TextPattern.literal(LiteralSearch(replacement)).replacingMatches(in: token, with: content) ?? token)
    }
}

/// A step behind `Fuse` that must see the whole text: nothing is certain before the end.
struct WholeStage: DecoderStage {
    let step: TextDecoder.Step
    private var text: [UInt8] = []

    init(step: TextDecoder.Step) { self.step = step }

    mutating func take(_ token: [UInt8], to output: inout [[UInt8]]) { text += token }

    mutating func finish(to output: inout [[UInt8]]) {
        switch step {
        case .byteLevel:
            var bytes: [UInt8] = []
            ByteAlphabet.appendDecoded(text, to: &bytes)
            output.append(bytes)
        case .byteFallback:
            if let byte = ByteFallbackStage.byte(of: text) {
                output.append(byte < 0x80 ? [byte] : UTF8State.replacement)
            } else {
                output.append(text)
            }
        case .replace(let pattern, let content): output.append(pattern.replacingMatches(in: text, with: content) ?? text)
        case .fuse, .strip, .metaspace: output.append(text)
        }
        text = []
    }
}
