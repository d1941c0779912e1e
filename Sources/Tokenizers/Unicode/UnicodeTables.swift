/// Unicode as Hugging Face `tokenizers` sees it: classes, lower case, decompositions and compositions of every scalar.
///
/// The data lies in generated files as base64 text. The Swift toolchain's own tables are of another Unicode version, and ids must not change with it.
enum UnicodeTables {
    static let scalarLimit: UInt32 = 0x110000

    /// Reads the variable-length integers of one generated table.
    struct Reader {
        private let bytes: [UInt8]
        private var offset = 0

        init(_ base64: String) {
            var bytes: [UInt8] = []
            bytes.reserveCapacity(base64.utf8.count * 3 / 4)
            var accumulator: UInt32 = 0
            var bitCount = 0
            for character in base64.utf8 {
                let value: UInt8
                switch character {
                case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = character - UInt8(ascii: "A")
                case UInt8(ascii: "a")...UInt8(ascii: "z"): value = character - UInt8(ascii: "a") + 26
                case UInt8(ascii: "0")...UInt8(ascii: "9"): value = character - UInt8(ascii: "0") + 52
                case UInt8(ascii: "+"): value = 62
                case UInt8(ascii: "/"): value = 63
                default: continue
                }
                accumulator = accumulator << 6 | UInt32(value)
                bitCount += 6
                if bitCount >= 8 {
                    bitCount -= 8
                    bytes.append(UInt8(truncatingIfNeeded: accumulator >> UInt32(bitCount)))
                }
            }
            self.bytes = bytes
        }

        var isAtEnd: Bool { offset >= bytes.count }

        mutating func next() -> UInt32 {
            var value: UInt32 = 0
            var shift: UInt32 = 0
            while offset < bytes.count {
                let byte = bytes[offset]
                offset += 1
                value |= UInt32(byte & 0x7F) << shift
                if byte < 0x80 { break }
                shift += 7
            }
            return value
        }

        mutating func nextSigned() -> Int32 {
            let value = next()
            return value & 1 == 0 ? Int32(value >> 1) : -Int32(value >> 1) - 1
        }
    }
}

/// A value for every scalar, in two stages: blocks of 128 scalars of which most are shared.
struct ScalarTable: Sendable {
    private static let blockBits: UInt32 = 7
    private static let blockSize = 1 << 7

    private var blocks: [UInt16]
    private var values: [UInt16]

    /// All scalars have value 0.
    init() {
        blocks = [UInt16](repeating: 0, count: Int(UnicodeTables.scalarLimit >> Self.blockBits))
        values = [UInt16](repeating: 0, count: Self.blockSize)
    }

    /// Runs of equal values: each holds from its start to the next one's; what lies before the first is 0.
    init(runs: [(start: UInt32, value: UInt16)]) {
        self.init()
        var uniform: [UInt16: UInt16] = [0: 0]
        for (index, run) in runs.enumerated() {
            let end = index + 1 < runs.count ? runs[index + 1].start : UnicodeTables.scalarLimit
            var scalar = run.start
            while scalar < end {
                let blockEnd = (scalar >> Self.blockBits + 1) << Self.blockBits
                if scalar & UInt32(Self.blockSize - 1) == 0, blockEnd <= end {
                    let block: UInt16
                    if let known = uniform[run.value] {
                        block = known
                    } else {
                        block = UInt16(values.count / Self.blockSize)
                        values.append(contentsOf: repeatElement(run.value, count: Self.blockSize))
                        uniform[run.value] = block
                    }
                    blocks[Int(scalar >> Self.blockBits)] = block
                    scalar = blockEnd
                } else {
                    let stop = min(end, blockEnd)
                    while scalar < stop {
                        self[scalar] = run.value
                        scalar += 1
                    }
                }
            }
        }
    }

    subscript(scalar: UInt32) -> UInt16 {
        @inline(__always) get {
            values[Int(blocks[Int(scalar >> Self.blockBits)]) << Int(Self.blockBits) | Int(scalar & 127)]
        }
        set {
            // Block 0 and the uniform blocks are shared; a block is made this index's own before its first value other than 0 goes in.
            let index = Int(scalar >> Self.blockBits)
            if blocks[index] == 0 {
                guard newValue != 0 else { return }
                blocks[index] = UInt16(values.count / Self.blockSize)
                values.append(contentsOf: repeatElement(0, count: Self.blockSize))
            }
            values[Int(blocks[index]) << Int(Self.blockBits) | Int(scalar & 127)] = newValue
        }
    }
}
