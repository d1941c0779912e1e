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
    /// Whether some step asks if a piece starts where its text started, which costs a second search in each `replace`.
    var tracksOrigin = false

    /// Normalises `text`. `startsAtOrigin` becomes false when the first scalar left is not made from the first one that came in: the
    /// `Metaspace` step asks for that.
    func normalize(_ text: inout [UInt8], startsAtOrigin: inout Bool) {
        for step in steps {
            switch step {
            case .form(let form):
                if let normalized = form.normalized(text) { text = normalized }
            case .replace(let pattern, let content):
                if tracksOrigin, startsAtOrigin { startsAtOrigin = keepsOrigin(pattern, content, text) }
                if let replaced = pattern.replacingMatches(in: text, with: content) { text = replaced }
            case .prepend(let prefix):
                if !text.isEmpty { text.insert(contentsOf: prefix, at: 0) }
            case .strip(let left, let right):
                let kept = text.trimmed(left: left, right: right)
                if kept.lowerBound > 0 { startsAtOrigin = false }
                if kept.count < text.count { text = Array(text[kept]) }
            case .lowercase:
                Lowercase.apply(&text)
            }
        }
    }

    /// A replaced first scalar keeps the place of the last scalar that it replaces.
    private func keepsOrigin(_ pattern: TextPattern, _ content: [UInt8], _ text: [UInt8]) -> Bool {
        guard let first = text.first else { return true }
        var result = true
        var isFirst = true
        pattern.forEachMatch(in: text, 0..<text.count) { match in
            if isFirst, match.lowerBound == 0 { result = match.isEmpty || !content.isEmpty && match.upperBound <= scalarLength(first) }
            isFirst = false
        }
        return result
    }
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
