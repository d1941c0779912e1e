import Foundation
import Testing
import Tokenizers

@Suite struct SharedUseTests {
    private static let texts = (0..<300).map { "Text number \($0): naïve \($0 % 7) 日本語 <|im_end|> it's  " + String(repeating: "x", count: $0 % 40) }

    @Test(arguments: Goldens.tokenizerNames)
    func aBatchEqualsItsTexts(name: String) throws {
        let tokenizer = try Goldens.tokenizer(name)
        let one = Self.texts.map { tokenizer.encode($0) }
        #expect(tokenizer.encodeBatch(Self.texts) == one)
        #expect(
            tokenizer.encodeBatch(Array(Self.texts.prefix(3)), addSpecialTokens: false)
                == Self.texts.prefix(3).map { tokenizer.encode($0, addSpecialTokens: false) })
        #expect(tokenizer.encodeBatch([]) == [])
    }

    @Test func manyTasksUseOneTokenizer() async throws {
        let tokenizer = try Goldens.tokenizer("byte-level")
        let expected = Self.texts.map { tokenizer.encode($0) }
        await withTaskGroup(of: Bool.self) { group in
            for shift in 0..<16 {
                group.addTask {
                    (0..<Self.texts.count).allSatisfy { index in
                        let position = (index + shift * 17) % Self.texts.count
                        return tokenizer.encode(Self.texts[position]) == expected[position] && !tokenizer.decode(expected[position]).isEmpty
                    }
                }
            }
            for await isEqual in group { #expect(isEqual) }
        }
    }

    /// More different words than the cache holds, and the same ones again.
    @Test func theCacheForgetsWithoutHarm() throws {
        let tokenizer = try Goldens.tokenizer("byte-level")
        let words = (0..<60_000).map { " w\($0 &* 2_654_435_761 % 1_000_003)xyz" }
        let first = tokenizer.encode(words.joined())
        #expect(tokenizer.encode(words.joined()) == first)
        #expect(
            words.prefix(500).flatMap { tokenizer.encode($0, addSpecialTokens: false) }
                == Array(first.prefix(words.prefix(500).reduce(0) { $0 + tokenizer.encode($1, addSpecialTokens: false).count })))
    }

    @Test func looksUpTokens() throws {
        let tokenizer = try Goldens.tokenizer("byte-level")
        #expect(tokenizer.vocabularyCount == 1515)
        for id in 0..<tokenizer.idUpperBound {
            let token = try #require(tokenizer.token(id))
            #expect(tokenizer.contains(id))
            if tokenizer.addedTokens.first(where: { $0.id == id })?.isNormalized != true { #expect(tokenizer.id(of: token) == id) }
        }
        #expect(tokenizer.id(of: "no such token") == nil)
        #expect(tokenizer.specialTokenIDs.contains(try #require(tokenizer.id(of: "<|im_end|>"))))
    }
}

/// The cases that come with the real vocabularies: texts in one file, ids in the other.
@Suite struct SharedCaseTests {
    @Test(
        .enabled(if: SharedData.exists("tokenizer-cases"), "the cases in ../shared/data are not here"),
        arguments: [("ggml-vocab-qwen2", "qwen3-tokenizer"), ("ggml-vocab-llama-spm", "spm-llama-style-tokenizer")])
    func equalsTheCases(cases: String, folder: String) throws {
        let tokenizer = try Tokenizer(contentsOf: SharedData.path("\(folder)/tokenizer.json"))
        let input = try String(contentsOfFile: SharedData.path("tokenizer-cases/\(cases).gguf.inp"), encoding: .utf8)
        let output = try String(contentsOfFile: SharedData.path("tokenizer-cases/\(cases).gguf.out"), encoding: .utf8)
        let texts = input.components(separatedBy: "\n__ggml_vocab_test__\n")
        let lines = output.components(separatedBy: "\n")
        #expect(texts.count > 30)
        for (text, line) in zip(texts, lines) {
            let ids = line.split(separator: " ").compactMap { Int($0) }
            #expect(tokenizer.encode(text, addSpecialTokens: false) == ids, "\(text.debugDescription)")
        }
    }
}
