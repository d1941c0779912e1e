/// Follows bytes through UTF-8: knows after each whether all so far can be the start of valid text.
struct UTF8State: Sendable {
    static let replacement: [UInt8] = [0xEF, 0xBF, 0xBD]

    /// Bytes that the current scalar still needs.
    private(set) var missing = 0
    private var lower: UInt8 = 0x80
    private var upper: UInt8 = 0xBF

    var isComplete: Bool { missing == 0 }

    /// Takes one byte; false where no valid text can have it here, and then the state is as before the byte.
    mutating func accepts(_ byte: UInt8) -> Bool {
        if missing > 0 {
            guard (lower...upper).contains(byte) else { return false }
            missing -= 1
            (lower, upper) = (0x80, 0xBF)
            return true
        }
        switch byte {
        case 0x00...0x7F: break
        case 0xC2...0xDF: missing = 1
        case 0xE0: (missing, lower) = (2, 0xA0)
        case 0xED: (missing, upper) = (2, 0x9F)
        case 0xE1...0xEF: missing = 2
        case 0xF0: (missing, lower) = (3, 0x90)
        case 0xF1...0xF3: missing = 3
        case 0xF4: (missing, upper) = (3, 0x8F)
        default: return false
        }
        return true
    }
}

/// Makes any bytes valid UTF-8: each longest start of a scalar that breaks off, and each byte that starts none, becomes one U+FFFD.
struct UTF8RepairStage: DecoderStage {
    private var state = UTF8State()
    /// The bytes of a scalar that has begun.
    private var pending: [UInt8] = []

    mutating func take(_ token: [UInt8], to output: inout [[UInt8]]) {
        var text = pending
        pending = []
        var scalarStart = 0
        text.reserveCapacity(text.count + token.count)
        for byte in token {
            if !state.accepts(byte) {
                if !state.isComplete {
                    text.removeLast(text.count - scalarStart)
                    text += UTF8State.replacement
                    state = UTF8State()
                }
                scalarStart = text.count
                guard state.accepts(byte) else {
                    text += UTF8State.replacement
                    scalarStart = text.count
                    continue
                }
            }
            text.append(byte)
            if state.isComplete { scalarStart = text.count }
        }
        if !state.isComplete {
            pending = Array(text[scalarStart...])
            text.removeLast(text.count - scalarStart)
        }
        if !text.isEmpty { output.append(text) }
    }

    mutating func finish(to output: inout [[UInt8]]) {
        if !pending.isEmpty { output.append(UTF8State.replacement) }
        pending = []
        state = UTF8State()
    }
}
