import JSON

extension Section {
    private static let maximumStepCount = 64

    // MARK: Normalizer

    func normalizer() throws(TokenizerError) -> Normalizer {
        var steps: [Normalizer.Step] = []
        try appendNormalizer(to: &steps)
        return Normalizer(steps: steps)
    }

    private func appendNormalizer(to steps: inout [Normalizer.Step]) throws(TokenizerError) {
        guard steps.count < Self.maximumStepCount else { throw failure(.limit, "more than \(Self.maximumStepCount) steps") }
        switch try type() {
        case "Sequence":
            for element in try required("normalizers").elements() { try element.appendNormalizer(to: &steps) }
        case "NFC": steps.append(.form(.nfc))
        case "NFD": steps.append(.form(.nfd))
        case "NFKC": steps.append(.form(.nfkc))
        case "NFKD": steps.append(.form(.nfkd))
        case "Lowercase": steps.append(.lowercase)
        case "Prepend": steps.append(.prepend(try required("prepend").shortBytes()))
        case "Replace":
            let (pattern, content) = try replacement()
            steps.append(.replace(pattern, content: content))
        case "Strip":
            steps.append(.strip(left: try required("strip_left").bool(), right: try required("strip_right").bool()))
        default: throw try unsupportedType("Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Prepend, Replace and Strip")
        }
    }

    private func replacement() throws(TokenizerError) -> (TextPattern, [UInt8]) {
        let section = try required("pattern")
        if let text = section.optional("String"), try text.string().isEmpty { throw text.failure(.unsupported, "an empty pattern is not supported") }
        return (try section.textPattern(), try required("content").shortBytes())
    }

    /// `{"String": ...}` or `{"Regex": ...}`.
    private func textPattern() throws(TokenizerError) -> TextPattern {
        do {
            if let text = optional("String") {
                let bytes = try text.bytes()
                return bytes.isEmpty ? .pattern(try Pattern("")) : .literal(LiteralSearch(bytes))
            }
            if let text = optional("Regex") { return .pattern(try Pattern(try text.string())) }
        } catch let error as Pattern.Unsupported {
            throw failure(.unsupported, error.message)
        } catch let error as TokenizerError {
            throw error
        } catch {
            throw failure(.unsupported, "\(error)")
        }
        throw failure(.missing, "expected {\"String\": ...} or {\"Regex\": ...}")
    }

    // MARK: Pre-tokenizer

    func preTokenizer() throws(TokenizerError) -> PreTokenizer {
        var steps: [PreTokenizer.Step] = []
        try appendPreTokenizer(to: &steps)
        return PreTokenizer(steps)
    }

    private func appendPreTokenizer(to steps: inout [PreTokenizer.Step]) throws(TokenizerError) {
        guard steps.count < Self.maximumStepCount else { throw failure(.limit, "more than \(Self.maximumStepCount) steps") }
        let kinds = ScalarKinds.shared
        switch try type() {
        case "Sequence":
            for element in try required("pretokenizers").elements() { try element.appendPreTokenizer(to: &steps) }
        case "Split":
            let pattern = try required("pattern").textPattern()
            steps.append(.split(pattern, try required("behavior").behavior(), inverted: try required("invert").bool()))
        case "ByteLevel":
            let splits = try bool("use_regex", default: true)
            steps.append(.byteLevel(addsPrefixSpace: try required("add_prefix_space").bool(), splits ? .pattern(Self.gpt2Pattern) : nil))
        case "Metaspace":
            steps.append(
                .metaspace(replacement: try scalar("replacement"), try prependScheme(), splits: try bool("split", default: true)))
        case "Digits":
            let isolates = try required("individual_digits").bool()
            steps.append(.split(.scalar(ScalarSet(kinds: kinds.mask(.numeric))), isolates ? .isolated : .contiguous, inverted: false))
        case "Punctuation":
            var set = ScalarSet(kinds: kinds.mask(.punctuation))
            for range in [0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E] as [ClosedRange<UInt32>] { set.insert(range) }
            set.finish()
            steps.append(.split(.scalar(set), try optional("behavior")?.behavior() ?? .isolated, inverted: false))
        case "WhitespaceSplit": steps.append(.split(.scalar(ScalarSet(kinds: kinds.mask(.space))), .removed, inverted: false))
        case "Whitespace": steps.append(.split(.pattern(Self.wordsPattern), .removed, inverted: true))
        default:
            throw try unsupportedType("Sequence, Split, ByteLevel, Metaspace, Digits, Punctuation, Whitespace and WhitespaceSplit")
        }
    }

    private func behavior() throws(TokenizerError) -> SplitBehavior {
        guard let behavior = SplitBehavior(rawValue: try string()) else {
            let known = SplitBehavior.allCases.map(\.rawValue).joined(separator: ", ")
            throw failure(.unsupported, "'\(try string())' is not supported; supported are \(known)")
        }
        return behavior
    }

    private func prependScheme() throws(TokenizerError) -> PreTokenizer.PrependScheme {
        var scheme = PreTokenizer.PrependScheme.always
        if let section = optional("prepend_scheme") {
            guard let known = PreTokenizer.PrependScheme(rawValue: try section.string()) else {
                throw section.failure(.unsupported, "'\(try section.string())' is not supported; supported are always, first and never")
            }
            scheme = known
        }
        if let old = optional("add_prefix_space"), try !old.bool() {
            guard scheme == .never else { throw old.failure(.invalid, "needs 'prepend_scheme' to be \"never\"") }
        }
        return scheme
    }

    /// A string of one scalar.
    private func scalar(_ key: String) throws(TokenizerError) -> [UInt8] {
        let section = try required(key)
        let text = try section.string()
        guard text.unicodeScalars.count == 1 else { throw section.failure(.invalid, "expected one character") }
        return Array(text.utf8)
    }

    // MARK: Decoder

    func decoder() throws(TokenizerError) -> TextDecoder {
        var steps: [TextDecoder.Step] = []
        try appendDecoder(to: &steps)
        return TextDecoder(steps: steps)
    }

    private func appendDecoder(to steps: inout [TextDecoder.Step]) throws(TokenizerError) {
        guard steps.count < Self.maximumStepCount else { throw failure(.limit, "more than \(Self.maximumStepCount) steps") }
        switch try type() {
        case "Sequence":
            for element in try required("decoders").elements() { try element.appendDecoder(to: &steps) }
        case "ByteLevel": steps.append(.byteLevel)
        case "ByteFallback": steps.append(.byteFallback)
        case "Fuse": steps.append(.fuse)
        case "Replace":
            let (pattern, content) = try replacement()
            steps.append(.replace(pattern, content: content))
        case "Strip":
            steps.append(.strip(scalar: try scalar("content"), start: try count("start"), stop: try count("stop")))
        case "Metaspace":
            steps.append(.metaspace(replacement: try scalar("replacement"), dropsFirst: try prependScheme() != .never))
        default: throw try unsupportedType("Sequence, ByteLevel, ByteFallback, Fuse, Replace, Strip and Metaspace")
        }
    }

    private func count(_ key: String) throws(TokenizerError) -> Int {
        let section = try required(key)
        let count = try section.integer()
        guard (0...1_000_000).contains(count) else { throw section.failure(.range, "\(count) is outside 0...1,000,000") }
        return count
    }

    // MARK: Fixed patterns

    /// What `ByteLevel` splits by when it is asked to.
    private static let gpt2Pattern = fixed(#"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#)

    /// `\w+|[^\w\s]+` with the `\w` of the Rust regex crate, which `Whitespace` uses.
    private static let wordsPattern: Pattern = {
        let word = ScalarSet(kinds: ScalarKinds.shared.mask(.identifier))
        var other = ScalarSet(kinds: ScalarKinds.shared.mask(.identifier) | ScalarKinds.shared.mask(.space))
        other.negate()
        let nodes = [word, other].map { PatternNode.repeat(.set($0), minimum: 1, maximum: nil, .greedy) }
        guard let pattern = try? Pattern(.alternatives(nodes)) else { preconditionFailure("a fixed pattern compiles") }
        return pattern
    }()

    private static func fixed(_ text: String) -> Pattern {
        guard let pattern = try? Pattern(text) else { preconditionFailure("a fixed pattern compiles") }
        return pattern
    }
}
