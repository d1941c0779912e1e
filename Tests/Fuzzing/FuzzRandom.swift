/// SplitMix64: small, fast, and the same everywhere.
struct FuzzRandom: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64, iteration: Int) {
        state = seed
        // Mixed once, so that neighbouring seeds and iterations do not share their streams.
        state = next() &+ UInt64(truncatingIfNeeded: iteration)
        state = next()
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }

    /// A number from 0 to `bound` - 1; 0 where there is none.
    mutating func below(_ bound: Int) -> Int {
        bound <= 1 ? 0 : Int(next() % UInt64(bound))
    }

    mutating func chance(_ wins: Int, in cases: Int) -> Bool { below(cases) < wins }

    mutating func byte() -> UInt8 { UInt8(truncatingIfNeeded: next()) }

    /// One of the choices, of which there must be some.
    mutating func pick<Choices: RandomAccessCollection>(_ choices: Choices) -> Choices.Element {
        choices[choices.index(choices.startIndex, offsetBy: below(choices.count))]
    }

    /// A range inside `0..<count`, short more often than long.
    mutating func range(in count: Int) -> Range<Int> {
        let start = below(count + 1)
        let longest = count - start
        let length = chance(3, in: 4) ? below(min(longest, 16) + 1) : below(longest + 1)
        return start..<(start + length)
    }
}
