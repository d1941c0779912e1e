import Foundation
import Testing
import Tokenizers

/// The pattern engine on its own: both programs find the same, and neither takes more than linear time.
@Suite struct PatternTests {
    /// The pieces that the first merges of a split show: a model of single characters and `Removed`, so that what is left is what did not match.
    private func kept(_ pattern: String, _ text: String) throws -> String {
        let characters = Set(text.unicodeScalars).sorted { $0.value < $1.value }
        let vocab = characters.enumerated().map { "\(Self.quoted(String($0.element))):\($0.offset)" }.joined(separator: ",")
        let json = ToyTokenizer.json(
            vocab: "{\(vocab)}", merges: "[]",
            sections:
                #""decoder":{"type":"Fuse"},"pre_tokenizer":{"type":"Split","pattern":{"Regex":\#(Self.quoted(pattern))},"behavior":"Removed","invert":false},"#
        )
        let tokenizer = try Tokenizer(json: json)
        return tokenizer.decode(tokenizer.encode(text))
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case "\0"..<" ": result += "\\u00" + String(scalar.value + 256, radix: 16).dropFirst()
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    @Test func matchesLikeTheReference() throws {
        #expect(try kept(#"a+?b"#, "aabxaab") == "x")
        #expect(try kept(#"(?:a|ab)c"#, "abcxac") == "x")
        #expect(try kept(#"a++a|b"#, "aaab") == "aaa")
        #expect(try kept(#"\p{N}{1,3}+"#, "a1234567b") == "ab")
        #expect(try kept(#"a{,2}b"#, "aaab") == "a")
        #expect(try kept(#"\s+(?!\S)"#, "a   b  ") == "a b")
        #expect(try kept(#"(?i:'s|k)"#, "x'\u{17F}y\u{212A}z'S") == "xyz")
        #expect(try kept(#"[^\S\n]"#, "a \n\tb") == "a\nb")
        #expect(try kept(#"[a[^b-d]]"#, "abcde") == "bcd")
        #expect(try kept(#"^a|b$"#, "ab\nab\naab") == "\n\na")
        #expect(try kept(#"\x41|\u0042|\x{1F600}"#, "ABC😀") == "C")
        #expect(try kept(#"\p{^L}|\P{^Lu}"#, "aB1é") == "aé")
    }

    @Test func bothProgramsFindTheSame() throws {
        let patterns = [
            #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#,
            #"(?:a|ab|b)*c?"#, #"a*"#, #"(?:a|aa)+$"#, #"a{2,}?b|a"#, #"[ab]{1,2}|c"#, #"(?:[a-b]++|c*+|\d?+)x"#, #"e??."#, #"(\s\S){2}"#,
            #"a+?(?=b)"#, #"(?:ab?){2,3}+"#, "",
            #"(?:a?b){0,3}c"#, #"\s++|a*+b"#, #"^a+|b$|\Z"#, #"a*?|b"#, #"(?:a|)b?|a"#, #"(?:b??a??)?|ab"#,
        ]
        var state: UInt64 = 3
        for pattern in patterns {
            let compiled = try Pattern(pattern)
            for _ in 0..<400 {
                var text = ""
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                var bits = state >> 8
                for _ in 0..<(state >> 60) * 2 {
                    text.unicodeScalars.append(Array("aabbcx e1\n'sé ".unicodeScalars)[Int(bits % 14)])
                    bits = bits &* 0x9E37_79B9_7F4A_7C15 >> 3 ^ bits
                }
                #expect(compiled.matches(in: text) == compiled.matches(in: text, patiently: true), "\(pattern) in \(text.debugDescription)")
            }
        }
    }

    /// Patterns and texts that make a naive backtracker take quadratic or exponential time.
    @Test(arguments: [
        (#"(?:a|aa)+c"#, "a"), (#"(?:a+)+c"#, "a"), (#"a*a*a*a*c"#, "a"), (#"\s+$"#, " "), (#"(?:a|b|ab)*c"#, "ab"), (#"\s++x"#, "\n"),
        (#"(?:\s*\S?)+?x"#, " a"),
        (#"(?:[ab]?[ab]?[ab]?)c"#, "ab"), (#"a+?a+?b"#, "a"), (#"(?:a{1,9}){1,9}b"#, "a"),
    ])
    func staysLinear(pattern: String, unit: String) throws {
        if pattern.contains("?)+?") {
            #expect(throws: TokenizerError.self) { try kept(pattern, unit) }
            return
        }
        #if DEBUG
            let count = 4000
        #else
            let count = 200_000
        #endif
        let text = String(repeating: unit, count: count / unit.utf8.count) + "."
        let start = clock()
        #expect(try kept(pattern, text) == text)
        #expect(Double(clock() - start) / Double(CLOCKS_PER_SEC) < 10)
    }
}
