import Testing
import Tokenizers

/// The rules of the byte-pair model, its quirks included; each expectation was checked with tokenizers 0.23.3.
@Suite struct ModelTests {
    private func tokenizer(_ model: String, vocab: String, merges: String = "[]") throws -> Tokenizer {
        try Tokenizer(json: ToyTokenizer.json(vocab: vocab, merges: merges, model: model))
    }

    @Test func leavesOutWhatItDoesNotKnow() throws {
        #expect(try tokenizer("", vocab: #"{"a":0,"b":1}"#).encode("axxbx") == [0, 1])
    }

    @Test func fusesUnknownCharacters() throws {
        let vocab = #"{"a":0,"<unk>":1}"#
        #expect(try tokenizer(#""unk_token":"<unk>","fuse_unk":false,"#, vocab: vocab).encode("xyaz") == [1, 1, 0, 1])
        #expect(try tokenizer(#""unk_token":"<unk>","fuse_unk":true,"#, vocab: vocab).encode("xyaz") == [1, 0, 1])
    }

    @Test func byteTokensGoBeforeAWaitingUnknown() throws {
        let vocab = #"{"a":0,"<unk>":1,"<0x78>":2,"<0xC3>":3}"#
        let model = #""unk_token":"<unk>","fuse_unk":true,"byte_fallback":true,"#
        #expect(try tokenizer(model, vocab: vocab).encode("yxa") == [2, 1, 0])
        // Of this character only one of two bytes has a token.
        #expect(try tokenizer(model, vocab: vocab).encode("xéx") == [2, 2, 1])
        #expect(try tokenizer(#""byte_fallback":true,"#, vocab: vocab).encode("xéxy") == [2, 2])
    }

    @Test func mergesByRankThenFromTheLeft() throws {
        let vocab = #"{"a":0,"b":1,"c":2,"aa":3,"ab":4,"bc":5,"abc":6,"aaa":7}"#
        #expect(try tokenizer("", vocab: vocab, merges: #"["b c","a b","a bc"]"#).encode("abcab") == [6, 4])
        #expect(try tokenizer("", vocab: vocab, merges: #"["a b","b c"]"#).encode("abcbc") == [4, 2, 5])
        #expect(try tokenizer("", vocab: vocab, merges: #"["a a","a aa"]"#).encode("aaaaa") == [3, 3, 0])
        #expect(try tokenizer("", vocab: vocab, merges: #"["a a","aa a"]"#).encode("aaaaa") == [3, 7])
        // A merge that stands twice has its later rank.
        #expect(try tokenizer("", vocab: vocab, merges: #"["a b","b c","a b"]"#).encode("abc") == [0, 5])
    }

    /// Short and long words are merged by different code.
    @Test func longWordsMergeLikeShortOnes() throws {
        let vocab = #"{"a":0,"b":1,"ab":2,"abab":3,"ba":4,"aba":5}"#
        let tokenizer = try tokenizer("", vocab: vocab, merges: #"["a b","ab ab","b a","ab a"]"#)
        #expect(tokenizer.encode("ababa") == [3, 0])
        for count in [11, 12, 13, 31, 33, 64, 65, 129, 1000] {
            let ids = tokenizer.encode(String(repeating: "ab", count: count))
            #expect(ids == [Int](repeating: 3, count: count / 2) + (count % 2 == 0 ? [] : [2]), "\(count)")
        }
    }

    @Test func aWordThatIsATokenNeedsNoMerge() throws {
        let vocab = #"{"a":0,"b":1,"ab":2,"ba":3}"#
        #expect(try tokenizer(#""ignore_merges":true,"#, vocab: vocab, merges: #"["a b"]"#).encode("ba") == [3])
        #expect(try tokenizer("", vocab: vocab, merges: #"["a b"]"#).encode("ba") == [1, 0])
    }

    /// Where a merge joins something to a mark behind it, words are not cut at marks.
    @Test func mergesAcrossMarks() throws {
        let vocab = #"{"a":0,"▁":1,"a▁":2,"▁a":3,"a▁a":4}"#
        #expect(try tokenizer("", vocab: vocab, merges: #"["▁ a","a ▁","a ▁a"]"#).encode("a▁a▁") == [4, 1])
        #expect(try tokenizer("", vocab: vocab, merges: #"["▁ a"]"#).encode("a▁a▁▁a") == [0, 3, 1, 3])
    }
}
