/// Decompositions, combining classes and compositions of the pinned Unicode version.
struct NormalizationData: Sendable {
    static let shared = NormalizationData()

    /// Full decompositions: index 0 is none, otherwise `bounds[index - 1]..<bounds[index]` of `scalars`.
    private struct Decompositions: Sendable {
        var table = ScalarTable()
        var bounds: [Int] = [0]
        var scalars: [UInt32] = []

        init(_ base64: String) {
            for (scalar, mapping) in UnicodeTables.mappings(base64) {
                scalars.append(contentsOf: mapping)
                bounds.append(scalars.count)
                table[scalar] = UInt16(bounds.count - 1)
            }
        }

        func lookUp(_ scalar: UInt32) -> ArraySlice<UInt32>? {
            let index = Int(table[scalar])
            return index == 0 ? nil : scalars[bounds[index - 1]..<bounds[index]]
        }
    }

    private let canonical = Decompositions(UnicodeTables.canonical)
    private let compatible = Decompositions(UnicodeTables.compatible)
    private let combiningClasses: ScalarTable
    /// Key: first scalar << 32 | second.
    private let compositions: [UInt64: UInt32]
    /// Every scalar that is the second of some composition, Hangul vowels and trailing consonants included.
    let seconds: Set<UInt32>

    private init() {
        var runs: [(start: UInt32, value: UInt16)] = []
        var reader = UnicodeTables.Reader(UnicodeTables.combining)
        var start: UInt32 = 0
        while !reader.isAtEnd {
            start += reader.next()
            runs.append((start, UInt16(truncatingIfNeeded: reader.next())))
        }
        combiningClasses = ScalarTable(runs: runs)

        reader = UnicodeTables.Reader(UnicodeTables.compositions)
        var pairs: [UInt64: UInt32] = [:]
        var seconds = Set<UInt32>()
        var first: UInt32 = 0
        for _ in 0..<reader.next() {
            first += reader.next()
            let second = reader.next()
            pairs[UInt64(first) << 32 | UInt64(second)] = UInt32(bitPattern: Int32(bitPattern: first) + reader.nextSigned())
            seconds.insert(second)
        }
        seconds.formUnion(Hangul.vowelBase..<Hangul.vowelBase + Hangul.vowelCount)
        seconds.formUnion(Hangul.trailingBase + 1..<Hangul.trailingBase + Hangul.trailingCount)
        compositions = pairs
        self.seconds = seconds
    }

    @inline(__always)
    func combiningClass(_ scalar: UInt32) -> UInt8 { UInt8(truncatingIfNeeded: combiningClasses[scalar]) }

    /// Calls `body` with each scalar of the full decomposition of `scalar`, which is itself where there is none.
    @inline(__always)
    func decompose(_ scalar: UInt32, compatibly: Bool, _ body: (UInt32) -> Void) {
        if Hangul.isSyllable(scalar) {
            let index = scalar - Hangul.syllableBase
            body(Hangul.leadingBase + index / Hangul.pairCount)
            body(Hangul.vowelBase + index % Hangul.pairCount / Hangul.trailingCount)
            if index % Hangul.trailingCount != 0 { body(Hangul.trailingBase + index % Hangul.trailingCount) }
        } else if compatibly, let mapping = compatible.lookUp(scalar) {
            mapping.forEach(body)
        } else if let mapping = canonical.lookUp(scalar) {
            mapping.forEach(body)
        } else {
            body(scalar)
        }
    }

    /// The primary composite of two scalars.
    func compose(_ first: UInt32, _ second: UInt32) -> UInt32? {
        if first &- Hangul.leadingBase < Hangul.leadingCount, second &- Hangul.vowelBase < Hangul.vowelCount {
            return Hangul.syllableBase + ((first - Hangul.leadingBase) * Hangul.vowelCount + second - Hangul.vowelBase) * Hangul.trailingCount
        }
        if Hangul.isSyllable(first), (first - Hangul.syllableBase) % Hangul.trailingCount == 0,
            second > Hangul.trailingBase, second < Hangul.trailingBase + Hangul.trailingCount
        {
            return first + second - Hangul.trailingBase
        }
        return compositions[UInt64(first) << 32 | UInt64(second)]
    }

    /// Calls `body` with every scalar outside the Hangul syllables that has a decomposition or a combining class.
    func forEachSpecial(_ body: (UInt32) -> Void) {
        for (scalar, _) in UnicodeTables.mappings(UnicodeTables.canonical) { body(scalar) }
        for (scalar, _) in UnicodeTables.mappings(UnicodeTables.compatible) { body(scalar) }
        for scalar in 0..<UnicodeTables.scalarLimit where combiningClasses[scalar] != 0 { body(scalar) }
    }
}

/// The arithmetic of Hangul syllables (Unicode, section 3.12).
enum Hangul {
    static let syllableBase: UInt32 = 0xAC00
    static let leadingBase: UInt32 = 0x1100
    static let vowelBase: UInt32 = 0x1161
    static let trailingBase: UInt32 = 0x11A7
    static let leadingCount: UInt32 = 19
    static let vowelCount: UInt32 = 21
    static let trailingCount: UInt32 = 28
    static let pairCount = vowelCount * trailingCount
    static let syllableCount = leadingCount * pairCount

    @inline(__always)
    static func isSyllable(_ scalar: UInt32) -> Bool { scalar &- syllableBase < syllableCount }
}

extension UnicodeTables {
    /// The entries of a generated mapping table.
    static func mappings(_ base64: String) -> [(scalar: UInt32, mapping: [UInt32])] {
        var reader = Reader(base64)
        var scalar: UInt32 = 0
        return (0..<reader.next()).map { _ in
            scalar += reader.next()
            let count = reader.next()
            var mapping = [UInt32(bitPattern: Int32(bitPattern: scalar) + reader.nextSigned())]
            for _ in 1..<max(count, 1) { mapping.append(UInt32(bitPattern: 0x300 + reader.nextSigned())) }
            return (scalar, mapping)
        }
    }
}
