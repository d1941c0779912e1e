/// The normaliser of a tokenizer file: a list of steps over UTF-8 text.
struct Normalizer: Sendable {
    enum Step: Sendable {
        case form(NormalizationForm)
        case replace(TextPattern, content: [UInt8])
        case prepend([UInt8])
        case strip(left: Bool, right: Bool)
        case lowercase
    }

    var steps: [Step] = []
    /// Whether some step asks if a piece starts where the text started.
    var tracksOrigin = false

    /// The same steps in memory that nobody shares; see ``PreTokenizer/ownCopy``.
    var ownCopy: Normalizer {
        var copy = self
        copy.steps = steps.map(\.ownCopy)
        return copy
    }

    /// Normalises `text`.
    ///
    /// `originCount` is the number of bytes at the front that are made from the first scalar of the text that came in, 0 for a piece from its middle:
    /// the `Metaspace` step asks for that. It is kept only with ``tracksOrigin``.
    func normalize(_ text: inout [UInt8], originCount: inout Int) {
        for step in steps {
            let front = tracksOrigin && originCount > 0 ? step.front(of: text, originCount) : 0
            step.apply(to: &text)
            originCount = 0
            for _ in 0..<front where originCount < text.count { originCount += scalarLength(text[originCount]) }
        }
    }
}

extension Normalizer.Step {
    fileprivate var ownCopy: Self {
        switch self {
        case .replace(let pattern, let content): .replace(pattern.ownCopy, content: content.ownCopy)
        case .prepend(let prefix): .prepend(prefix.ownCopy)
        case .form, .strip, .lowercase: self
        }
    }

    func apply(to text: inout [UInt8]) {
        switch self {
        case .form(let form):
            if let normalized = form.normalized(text) { text = normalized }
        case .replace(let pattern, let content):
            if let replaced = pattern.replacingMatches(in: text, with: content) { text = replaced }
        case .prepend(let prefix):
            if !text.isEmpty { text.insert(contentsOf: prefix, at: 0) }
        case .strip(let left, let right):
            let kept = text.trimmed(left: left, right: right)
            if kept.count < text.count { text = Array(text[kept]) }
        case .lowercase:
            Lowercase.apply(&text)
        }
    }

    /// How many scalars the front `text[..<count]` becomes: places go by number, whatever the step reorders or joins.
    fileprivate func front(of text: [UInt8], _ count: Int) -> Int {
        switch self {
        case .form, .lowercase:
            var front = Array(text[..<count])
            apply(to: &front)
            return front[...].scalarCount
        case .prepend(let prefix): return text[..<count].scalarCount + prefix[...].scalarCount
        case .strip(let left, let right):
            let removed = text.trimmed(left: left, right: right).lowerBound
            return removed < count ? text[removed..<count].scalarCount : 0
        case .replace(let pattern, let content):
            // What replaces a match has the place of the match's last scalar.
            var scalars = 0
            var done = 0
            pattern.forEachMatch(in: text, 0..<text.count) { match in
                guard done < count else { return }
                scalars += text[done..<min(match.lowerBound, count)].scalarCount
                if match.upperBound <= count { scalars += content[...].scalarCount }
                done = match.upperBound
            }
            return done < count ? scalars + text[done..<count].scalarCount : scalars
        }
    }
}

extension ArraySlice<UInt8> {
    /// The number of scalars in valid UTF-8.
    fileprivate var scalarCount: Int { count { $0 & 0xC0 != 0x80 } }
}

extension [UInt8] {
    /// The range left when white space is taken off the ends. The bytes must be valid UTF-8.
    func trimmed(left: Bool, right: Bool) -> Range<Int> {
        var lower = 0
        var upper = count
        let kinds = ScalarKinds.shared
        while left, lower < upper {
            let (scalar, next) = scalar(at: lower)
            guard kinds.has(.space, scalar) else { break }
            lower = next
        }
        while right, upper > lower {
            let (scalar, start) = scalar(before: upper)
            guard kinds.has(.space, scalar) else { break }
            upper = start
        }
        return lower..<upper
    }
}

/// Lower case scalar by scalar, without regard to context.
private enum Lowercase {
    private static let mappings = UnicodeTables.mappings(UnicodeTables.lowercase)
    /// Index into `mappings` plus one.
    private static let table: ScalarTable = {
        var table = ScalarTable()
        for (index, mapping) in mappings.enumerated() { table[mapping.scalar] = UInt16(index + 1) }
        return table
    }()

    static func apply(_ text: inout [UInt8]) {
        var output: [UInt8] = []
        output.reserveCapacity(text.count)
        let table = table
        var index = 0
        while index < text.count {
            let (scalar, next) = text.scalar(at: index)
            let entry = table[scalar]
            if entry == 0 {
                output.append(contentsOf: text[index..<next])
            } else {
                for lower in mappings[Int(entry) - 1].mapping { output.append(scalar: lower) }
            }
            index = next
        }
        text = output
    }
}
