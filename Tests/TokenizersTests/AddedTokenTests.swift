import Testing
import Tokenizers

/// Added tokens in text; each expectation was checked with tokenizers 0.23.3.
@Suite struct AddedTokenTests {
    private let vocab = #"{"a":0,"b":1,"c":2," ":3,"x":4,"y":5,"<":6}"#

    private func tokenizer(_ tokens: [(String, String)], _ sections: String = "") throws -> Tokenizer {
        let added = tokens.enumerated().map { ToyTokenizer.added(7 + $0.offset, $0.element.0, $0.element.1) }.joined(separator: ",")
        return try Tokenizer(json: ToyTokenizer.json(vocab: vocab, merges: "[]", addedTokens: "[\(added)]", sections: sections))
    }

    private let plain = #""normalized":false"#

    @Test func takesTheLeftmostLongest() throws {
        let tokenizer = try tokenizer([("ab", plain), ("abc", plain), ("bcx", plain), ("cx", plain)])
        #expect(tokenizer.encode("abcx") == [8, 4])
        #expect(tokenizer.encode("abx") == [7, 4])
        #expect(tokenizer.encode("bcx ab") == [9, 3, 7])
        #expect(tokenizer.encode("acx") == [0, 10])
        #expect(tokenizer.encode("") == [])
    }

    @Test func stripsSpaceAround() throws {
        let tokenizer = try tokenizer([("L", plain + #","lstrip":true"#), ("R", plain + #","rstrip":true"#)])
        #expect(tokenizer.encode("a  L  b") == [0, 7, 3, 3, 1])
        #expect(tokenizer.encode("a  R \n b") == [0, 3, 3, 8, 1])
        #expect(tokenizer.encode(" R  L ") == [3, 8, 7, 3])
        #expect(tokenizer.encode("  L") == [7])
    }

    @Test func aStripDoesNotHideATokenMadeOfSpace() throws {
        let tokenizer = try tokenizer([("X", plain + #","rstrip":true"#), (" Y", plain), ("  ", plain)])
        #expect(tokenizer.encode("aX Ya") == [0, 7, 8, 0])
    }

    @Test func matchesSingleWordsOnly() throws {
        let tokenizer = try tokenizer([("ab", plain + #","single_word":true"#)])
        #expect(tokenizer.encode("ab ab") == [7, 3, 7])
        #expect(tokenizer.encode("abc cab") == [0, 1, 2, 3, 2, 0, 1])
        #expect(tokenizer.encode("<ab<") == [6, 7, 6])
        // A combining mark is a word character.
        #expect(tokenizer.encode("ab\u{301}") == [0, 1])
    }

    @Test func matchesNormalizedTextWithNormalizedTokens() throws {
        let lower = #""normalizer":{"type":"Lowercase"},"#
        let tokenizer = try tokenizer([("AB", #""normalized":true"#), ("XY", #""normalized":false"#)], lower)
        #expect(tokenizer.encode("aB Ab") == [7, 3, 7])
        #expect(tokenizer.encode("XYxy") == [8, 4, 5])
        #expect(tokenizer.token(7) == "ab")
        #expect(tokenizer.id(of: "AB") == 7)
        #expect(tokenizer.id(of: "ab") == nil)
    }

    @Test func specialTokensCanBePlainText() throws {
        let tokenizer = try tokenizer([("<a", plain + #","special":true"#), ("ab", plain)])
        #expect(tokenizer.specialTokenIDs == [7])
        #expect(tokenizer.encode("<ab") == [7, 1])
        #expect(tokenizer.encode("<ab", splitsSpecialTokens: true) == [6, 0, 1])
        #expect(tokenizer.encode("<a ab", splitsSpecialTokens: true) == [6, 0, 3, 8])
        #expect(tokenizer.decode([7, 0]) == "a")
        #expect(tokenizer.decode([7, 0], skipSpecialTokens: false) == "<a a")
        #expect(tokenizer.isSpecial(7) && !tokenizer.isSpecial(8) && !tokenizer.isSpecial(99))
    }

    @Test func tokensOfTheModelKeepTheirIDs() throws {
        let json = ToyTokenizer.json(addedTokens: "[\(ToyTokenizer.added(4, "ab", #""special":true"#)),\(ToyTokenizer.added(7, "new"))]")
        let tokenizer = try Tokenizer(json: json)
        #expect(tokenizer.vocabularyCount == 8)
        #expect(tokenizer.addedTokens.map(\.id) == [4, 7])
        #expect(tokenizer.encode("abc new") == [4, 2, 3, 7])
        #expect(tokenizer.token(7) == "new" && tokenizer.token(8) == nil && tokenizer.token(-1) == nil && tokenizer.token(.max) == nil)
    }
}
