import JSON
import Testing
import Tokenizers

/// Files that are broken, hostile or ask for what is not supported: an error that names the place, never a trap and never other tokens.
@Suite struct FileErrorTests {
    private func expect(
        _ bytes: [UInt8], _ code: TokenizerError.Code, _ path: String, _ words: String = "", sourceLocation: SourceLocation = #_sourceLocation
    ) {
        guard let error = ToyTokenizer.error(bytes) else {
            Issue.record("no error", sourceLocation: sourceLocation)
            return
        }
        #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
        #expect(error.path == path, "\(error)", sourceLocation: sourceLocation)
        #expect(words.isEmpty || error.description.contains(words), "\(error)", sourceLocation: sourceLocation)
    }

    @Test func acceptsThePlainFile() throws {
        let tokenizer = try Tokenizer(json: ToyTokenizer.json())
        #expect(tokenizer.encode("abc ab") == [5, 3, 4])
        #expect(tokenizer.vocabularyCount == 7)
        #expect(tokenizer.idUpperBound == 7)
        #expect(tokenizer.decode([5, 99, -1, .max, 3]) == "abc  ")
    }

    @Test func refusesWhatIsNotJSON() {
        expect([], .json, "")
        expect(Array("[]".utf8), .json, "")
        expect(Array("{".utf8), .json, "")
        expect(Array("{}".utf8), .missing, "", "'model'")
        expect(Array(#"{"model":[]}"#.utf8), .json, "model", "expected an object")
        expect([0x7B, 0x22, 0xFF, 0x22, 0x3A, 0x31, 0x7D], .json, "", "UTF-8")
        expect(Array(String(repeating: "[", count: 100_000).utf8), .json, "")
        expect(Array((#"{"normalizer":"# + String(repeating: #"{"a":"#, count: 100_000)).utf8), .json, "normalizer", "nested deeper")
        expect(ToyTokenizer.json() + Array("x".utf8), .json, "")
        expect(ToyTokenizer.json(sections: #""normalizer":{"type":"NFC","x":"\ud800"},"#), .json, "normalizer", "surrogate")
        expect(Array(#"{"version":"2.0","model":{"type":"BPE","vocab":{},"merges":[]}}"#.utf8), .unsupported, "version", "1.0")
    }

    @Test func refusesModels() {
        expect(Array(#"{"model":{"type":"Unigram","vocab":[]}}"#.utf8), .unsupported, "model.type", "'Unigram' is not supported; supported is BPE")
        expect(Array(#"{"model":{"type":"BPE","vocab":{}}}"#.utf8), .missing, "model", "'merges'")
        expect(Array(#"{"model":{"type":"BPE","merges":[]}}"#.utf8), .missing, "model", "'vocab'")
        expect(ToyTokenizer.json(model: #""dropout":0.1,"#), .unsupported, "model.dropout")
        expect(ToyTokenizer.json(model: #""continuing_subword_prefix":"@@","#), .unsupported, "model.continuing_subword_prefix")
        expect(ToyTokenizer.json(model: #""end_of_word_suffix":"</w>","#), .unsupported, "model.end_of_word_suffix", "'</w>'")
        expect(ToyTokenizer.json(model: #""unk_token":"[UNK]","#), .unknownToken, "model.unk_token", "'[UNK]'")
        expect(ToyTokenizer.json(model: #""fuse_unk":1,"#), .json, "model.fuse_unk")
        #expect(ToyTokenizer.error(ToyTokenizer.json(model: #""dropout":0.0,"continuing_subword_prefix":"","unk_token":null,"#)) == nil)
    }

    @Test func refusesIDs() {
        for id in ["-1", "2147483648", "4294967295", "99999999999999999999", "1e40", "0.5", "\"1\"", "null"] {
            let error = ToyTokenizer.error(ToyTokenizer.json(vocab: #"{"a":\#(id)}"#, merges: "[]"))
            #expect(error?.code == .range || error?.code == .json, "\(id)")
            #expect(error?.path == "model.vocab", "\(id)")
            let added = ToyTokenizer.error(ToyTokenizer.json(addedTokens: "[\(#"{"id":\#(id),"content":"x"}"#)]"))
            #expect(added != nil && added?.path.hasPrefix("added_tokens[0]") == true, "\(id)")
        }
        expect(ToyTokenizer.json(vocab: #"{"a":0,"b":0}"#, merges: "[]"), .invalid, "model.vocab", "same id 0")
        expect(ToyTokenizer.json(vocab: #"{"a":2000000000,"b":2000000000}"#, merges: "[]"), .invalid, "model.vocab", "same id")
        expect(ToyTokenizer.json(vocab: #"{"a":0,"a":1}"#, merges: "[]"), .invalid, "model.vocab", "'a' stands twice")
        expect(ToyTokenizer.json(addedTokens: "[\(ToyTokenizer.added(9, "x"))]"), .invalid, "added_tokens[0]", "make it 7")
    }

    @Test func takesGapsInIDs() throws {
        let tokenizer = try Tokenizer(json: ToyTokenizer.json(vocab: #"{"a":2147483647,"b":5,"ab":1000000000}"#, merges: #"["a b"]"#))
        #expect(tokenizer.encode("aba") == [1_000_000_000, 2_147_483_647])
        #expect(tokenizer.decode([1_000_000_000, 6, 5]) == "ab b")
        #expect(tokenizer.idUpperBound == 2_147_483_648)
        #expect(!tokenizer.contains(0) && tokenizer.contains(5))
    }

    @Test func refusesMerges() {
        expect(ToyTokenizer.json(merges: #"[["a","x"]]"#), .unknownToken, "model.merges[0]", "'x'")
        expect(ToyTokenizer.json(merges: #"[["a","b"],["a","c"]]"#), .unknownToken, "model.merges[1]", "'ac'")
        expect(ToyTokenizer.json(merges: #"["a b c"]"#), .invalid, "model.merges[0]")
        expect(ToyTokenizer.json(merges: #"["ab"]"#), .invalid, "model.merges[0]")
        expect(ToyTokenizer.json(merges: #"[["a"]]"#), .invalid, "model.merges[0]")
        expect(ToyTokenizer.json(merges: #"[["a","b","c"]]"#), .invalid, "model.merges[0]")
        expect(ToyTokenizer.json(merges: #"[1]"#), .json, "model.merges")
        expect(ToyTokenizer.json(merges: #"{}"#), .json, "model.merges")
        #expect(ToyTokenizer.error(ToyTokenizer.json(merges: ##"["#version: 0.2","a b",["ab","c"]]"##)) == nil)
    }

    @Test func readsTheModelInAnyOrder() throws {
        let json = #"{"model":{"merges":["a b"],"vocab":{"a":0,"b":1,"ab":2}},"added_tokens":null}"#
        #expect(try Tokenizer(json: Array(json.utf8)).encode("abb") == [2, 1])
    }

    @Test func refusesSteps() {
        func section(_ text: String) -> [UInt8] { ToyTokenizer.json(sections: text + ",") }
        expect(section(#""normalizer":{"type":"Nmt"}"#), .unsupported, "normalizer.type", "'Nmt' is not supported; supported are Sequence, NFC")
        expect(
            section(#""normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Precompiled"}]}"#), .unsupported,
            "normalizer.normalizers[1].type", "'Precompiled'")
        expect(section(#""normalizer":{"type":"Replace","pattern":{"String":""},"content":"x"}"#), .unsupported, "normalizer.pattern.String")
        expect(section(#""normalizer":{"type":"Replace","pattern":{},"content":"x"}"#), .missing, "normalizer.pattern")
        expect(section(#""normalizer":{"type":"Prepend"}"#), .missing, "normalizer", "'prepend'")
        expect(section(#""normalizer":{}"#), .missing, "normalizer", "'type'")
        expect(section(#""normalizer":"NFC""#), .json, "normalizer")
        expect(
            section(#""pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"Foo"}]}"#),
            .unsupported,
            "pre_tokenizer.pretokenizers[1].type", "'Foo' is not supported; supported are")
        expect(
            section(#""pre_tokenizer":{"type":"Split","pattern":{"String":" "},"behavior":"Odd","invert":false}"#), .unsupported,
            "pre_tokenizer.behavior")
        expect(section(#""pre_tokenizer":{"type":"Metaspace","replacement":"__"}"#), .invalid, "pre_tokenizer.replacement")
        expect(
            section(#""pre_tokenizer":{"type":"Metaspace","replacement":"_","prepend_scheme":"last"}"#), .unsupported, "pre_tokenizer.prepend_scheme")
        expect(
            section(#""pre_tokenizer":{"type":"Metaspace","replacement":"_","add_prefix_space":false}"#), .invalid, "pre_tokenizer.add_prefix_space")
        expect(section(#""decoder":{"type":"WordPiece","prefix":"","cleanup":true}"#), .unsupported, "decoder.type", "'WordPiece'")
        expect(section(#""decoder":{"type":"Strip","content":" ","start":-1,"stop":0}"#), .range, "decoder.start")
        let many = [String](repeating: #"{"type":"NFC"}"#, count: 100).joined(separator: ",")
        expect(section(#""normalizer":{"type":"Sequence","normalizers":[\#(many)]}"#), .limit, "normalizer.normalizers[64]")
        let large = String(repeating: " ", count: 2 << 20)
        expect(section(#""decoder":{"type":"Fuse"\#(large)}"#), .limit, "decoder")
    }

    @Test func refusesPatterns() {
        for pattern in [
            "(?<=a)b", "(?<n>a)", "(?>a)", #"\b"#, #"\R"#, #"(a)\\1"#, "[a&&b]", "[[:alpha:]]", "(", ")", "[a", "a{2,1}", "a{2000}", "*a", "(?:ab)++",
            "(?i:é)", "(?i:ss)",
            "(?i:[^a])", "(?:a*)*", "(?:a|)+", "(?:a?){2}", #"\p{Greek}"#, #"\pL"#, "[b-a]", #"[a-\d]"#, #"[\d-a]"#, "a{2}?", "(?=a+)",
            "(?=(?:a|b)c)", "^*",
            "(?i:ẞ)", "{", "a{x}", "(?#c)",
        ] {
            let escaped = pattern.contains("\\\\") ? pattern : pattern.replacing("\\", with: "\\\\")
            let json = ToyTokenizer.json(
                sections: #""pre_tokenizer":{"type":"Split","pattern":{"Regex":"\#(escaped)"},"behavior":"Isolated","invert":false},"#)
            expect(json, .unsupported, "pre_tokenizer.pattern", "not supported")
        }
        let deep = String(repeating: "(", count: 5_000)
        expect(
            ToyTokenizer.json(sections: #""pre_tokenizer":{"type":"Split","pattern":{"Regex":"\#(deep)"},"behavior":"Isolated","invert":false},"#),
            .unsupported, "pre_tokenizer.pattern", "nesting")
        let huge = "(?:(?:a{1000}){1000}){1000}"
        expect(
            ToyTokenizer.json(sections: #""pre_tokenizer":{"type":"Split","pattern":{"Regex":"\#(huge)"},"behavior":"Isolated","invert":false},"#),
            .unsupported, "pre_tokenizer.pattern", "instructions")
    }

    @Test func refusesTemplates() {
        func template(_ single: String, _ tokens: String) -> [UInt8] {
            ToyTokenizer.json(
                sections: #""post_processor":{"type":"TemplateProcessing","single":[\#(single)],"pair":[],"special_tokens":{\#(tokens)}},"#)
        }
        let a = #"{"Sequence":{"id":"A","type_id":0}}"#
        let start = #"{"SpecialToken":{"id":"<s>","type_id":0}}"#
        expect(template("\(start),\(a)", ""), .unknownToken, "post_processor.single[0].SpecialToken", "'<s>'")
        expect(
            template("\(start),\(a)", #""<s>":{"id":"<s>","ids":[77],"tokens":["<s>"]}"#), .unknownToken, "post_processor.special_tokens.<s>.ids[0]",
            "77")
        expect(template("\(start),\(a)", #""<s>":{"id":"<s>","ids":[-1],"tokens":["<s>"]}"#), .range, "post_processor.special_tokens.<s>.ids[0]")
        expect(template(#"{"Sequence":{"id":"B","type_id":0}}"#, ""), .invalid, "post_processor.single[0].Sequence")
        expect(template("{}", ""), .invalid, "post_processor.single[0]")
        expect(ToyTokenizer.json(sections: #""post_processor":{"type":"Odd"},"#), .unsupported, "post_processor.type")
        expect(
            ToyTokenizer.json(sections: #""post_processor":{"type":"BertProcessing","sep":["x",99],"cls":["a",0]},"#), .unknownToken,
            "post_processor.sep[1]")
        #expect(ToyTokenizer.error(template("\(start),\(a)", #""<s>":{"id":"<s>","ids":[0,1],"tokens":["<s>","x"]}"#)) == nil)
    }

    @Test func refusesAddedTokens() {
        expect(ToyTokenizer.json(addedTokens: "{}"), .json, "added_tokens[0]")
        expect(ToyTokenizer.json(addedTokens: "[1]"), .json, "added_tokens[0]")
        expect(ToyTokenizer.json(addedTokens: #"[{"id":7}]"#), .missing, "added_tokens[0]", "'content'")
        expect(ToyTokenizer.json(addedTokens: #"[{"content":"x"}]"#), .missing, "added_tokens[0]", "'id'")
        expect(ToyTokenizer.json(addedTokens: #"[{"id":7,"content":"x","special":"yes"}]"#), .json, "added_tokens[0].special")
        let both = "[\(ToyTokenizer.added(7, "X", #""normalized":true"#)),\(ToyTokenizer.added(8, "x", #""normalized":true"#))]"
        expect(
            ToyTokenizer.json(addedTokens: both, sections: #""normalizer":{"type":"Lowercase"},"#), .invalid, "added_tokens",
            "the same once normalised")
    }

    @Test func namesTheFileThatCannotBeRead() {
        do {
            _ = try Tokenizer(contentsOf: "/nowhere/tokenizer.json")
            Issue.record("no error")
        } catch {
            #expect((error as? TokenizerError)?.code == .file)
            #expect("\(error)".contains("/nowhere/tokenizer.json"))
        }
    }

    /// Truncations and flipped bits of a real file give an error or a tokenizer that works.
    @Test func survivesDamagedFiles() throws {
        for name in Goldens.tokenizerNames {
            let original = try Goldens.bytes("\(name).json")
            var state: UInt64 = 42
            func random(_ bound: Int) -> Int {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return Int(state >> 33) % bound
            }
            for round in 0..<40 {
                var bytes = original
                if round % 2 == 0 { bytes.removeLast(random(bytes.count)) }
                for _ in 0..<random(4) where !bytes.isEmpty { bytes[random(bytes.count)] ^= UInt8(1 << random(8)) }
                if let tokenizer = try? Tokenizer(json: bytes) { _ = tokenizer.decode(tokenizer.encode("Hello  wörld\n<|im_end|> 123")) }
            }
        }
    }
}
