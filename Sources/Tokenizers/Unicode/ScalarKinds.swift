/// The kind of every scalar: scalars of one kind have the same general category and are alike to every class that a tokenizer file can name.
///
/// There are about fifty kinds, so a class of scalars is a bit mask over kinds.
struct ScalarKinds: Sendable {
    static let shared = ScalarKinds()

    /// General categories in the order of the generated table.
    static let categoryNames = [
        "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So",
        "Zs", "Zl", "Zp", "Cc", "Cf", "Cn", "Co",
    ]

    /// What a kind has beside its general category.
    enum Trait: UInt16 {
        /// `\w` of the split patterns' engine.
        case patternWord = 0x20
        /// White space, the same set everywhere.
        case space = 0x40
        /// What the `Punctuation` step takes for punctuation beyond ASCII.
        case punctuation = 0x80
        /// What the `Digits` step takes for a digit.
        case numeric = 0x100
        /// `\w` of the added tokens' `single_word` and of the `Whitespace` step.
        case identifier = 0x200
        /// Script Han.
        case han = 0x400
    }

    /// Index: kind. Bits 0-4 the category, above them the traits.
    private let attributes: [UInt16]
    private let table: ScalarTable

    private init() {
        var reader = UnicodeTables.Reader(UnicodeTables.kinds)
        let kindCount = reader.next()
        attributes = (0..<kindCount).map { _ in UInt16(truncatingIfNeeded: reader.next()) }
        var runs: [(start: UInt32, value: UInt16)] = []
        var start: UInt32 = 0
        while !reader.isAtEnd {
            start += reader.next()
            runs.append((start, UInt16(truncatingIfNeeded: reader.next())))
        }
        table = ScalarTable(runs: runs)
    }

    @inline(__always)
    func kind(of scalar: UInt32) -> UInt8 { UInt8(truncatingIfNeeded: table[scalar]) }

    func has(_ trait: Trait, _ scalar: UInt32) -> Bool { attributes[Int(kind(of: scalar))] & trait.rawValue != 0 }

    /// The kinds that have `trait`.
    func mask(_ trait: Trait) -> UInt64 { mask { $0 & trait.rawValue != 0 } }

    /// The kinds of a general category ("Lu") or of a group of them ("L"); nil for an unknown name.
    func mask(category name: String) -> UInt64? {
        let isGroup = name.utf8.count == 1
        let wanted = Set(
            Self.categoryNames.indices.filter { Self.categoryNames[$0] == name || (isGroup && Self.categoryNames[$0].hasPrefix(name)) })
        guard !wanted.isEmpty else { return nil }
        return mask { wanted.contains(Int($0 & 0x1F)) }
    }

    private func mask(_ include: (UInt16) -> Bool) -> UInt64 {
        var mask: UInt64 = 0
        for (kind, attribute) in attributes.enumerated() where include(attribute) { mask |= 1 << UInt64(kind) }
        return mask
    }
}
