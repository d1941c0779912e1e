import Testing
import Tokenizers

/// The pieces of a stream are valid text, and together the text of all ids.
@Suite struct StreamingTests {
    private struct Random {
        var state: UInt64

        mutating func next(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
    }

    /// What a decoder's definition says, on the whole list of tokens: for the forms whose decoders are simple enough to write down.
    private func reference(_ name: String, _ tokens: [String]) -> String? {
        guard name == "gemma-form" || name == "llama-form" else { return nil }
        var text: [UInt8] = []
        var run: [UInt8] = []
        func flush() {
            if let valid = String(validating: run, as: UTF8.self) {
                text += Array(valid.utf8)
            } else {
                for _ in run { text += Array("\u{FFFD}".utf8) }
            }
            run = []
        }
        for token in tokens {
            if token.utf8.count == 6, token.hasPrefix("<0x"), token.hasSuffix(">"), let byte = UInt8(token.dropFirst(3).prefix(2), radix: 16) {
                run.append(byte)
            } else {
                flush()
                text += Array(String(String.UnicodeScalarView(token.unicodeScalars.map { $0 == "\u{2581}" ? " " : $0 })).utf8)
            }
        }
        flush()
        if name == "llama-form", text.first == 0x20 { text.removeFirst() }
        return String(decoding: text, as: UTF8.self)
    }

    @Test(arguments: Goldens.tokenizerNames)
    func joinsToTheWholeText(name: String) throws {
        let tokenizer = try Goldens.tokenizer(name)
        var random = Random(state: 7)
        let bytes = (0..<256).compactMap { tokenizer.id(of: "<0x" + String($0 + 256, radix: 16).uppercased().dropFirst() + ">") }
        for _ in 0..<3000 {
            var ids: [Int] = []
            for _ in 0..<random.next(20) {
                ids.append(!bytes.isEmpty && random.next(2) == 0 ? bytes[random.next(bytes.count)] : random.next(tokenizer.idUpperBound + 2))
            }
            let skips = random.next(2) == 0
            var stream = StreamingDetokenizer(tokenizer, skipSpecialTokens: skips)
            var joined: [UInt8] = []
            for id in ids { joined += Array(stream.append(id).utf8) }
            joined += Array(stream.finish().utf8)
            let whole = tokenizer.decode(ids, skipSpecialTokens: skips)
            #expect(joined == Array(whole.utf8), "\(ids)")
            // A special token is known by its content: one that is written in another, normalised form is not left out.
            let tokens = ids.filter { id in
                !(skips && tokenizer.addedTokens.contains { $0.id == id && $0.isSpecial && $0.content == tokenizer.token(id) })
            }
            .compactMap { tokenizer.token($0) }
            if let reference = reference(name, tokens) { #expect(Array(whole.utf8) == Array(reference.utf8), "\(ids)") }
        }
    }

    @Test func holdsBackUnfinishedCharacters() throws {
        let tokenizer = try Goldens.tokenizer("byte-level")
        var stream = StreamingDetokenizer(tokenizer)
        // The four bytes of one emoji as tokens of the byte alphabet, then a letter.
        let ids = ["\u{F0}", "\u{141}", "\u{13A}", "\u{122}", "a"].compactMap { tokenizer.id(of: $0) }
        #expect(ids.count == 5)
        #expect(ids.map { stream.append($0) } == ["", "", "", "\u{1F600}", "a"])
        #expect(stream.finish() == "")
        // A character that breaks off.
        #expect(stream.append(ids[0]) == "")
        #expect(stream.append(ids[1]) == "")
        #expect(stream.append(ids[4]) == "\u{FFFD}a")
        #expect(stream.append(ids[0]) == "")
        #expect(stream.finish() == "\u{FFFD}")
        #expect(stream.finish() == "")
    }

    @Test func byteTokensWaitForTheEndOfTheirRun() throws {
        let tokenizer = try Goldens.tokenizer("llama-form")
        let ids = ["\u{2581}a", "<0xE2>", "<0x82>", "<0xAC>", "a", "<0xFF>", "<0x41>"].compactMap { tokenizer.id(of: $0) }
        #expect(ids.count == 7)
        var stream = StreamingDetokenizer(tokenizer)
        #expect(stream.append(ids[0]) == "a", "the first space is stripped")
        #expect(stream.append(ids[0]) == " a")
        #expect(stream.append(ids[1]) + stream.append(ids[2]) + stream.append(ids[3]) == "")
        #expect(stream.append(ids[4]) == "€a")
        // No byte can mend this run any more: nothing is held back.
        #expect(stream.append(ids[5]) == "\u{FFFD}")
        #expect(stream.append(ids[6]) == "\u{FFFD}")
        #expect(stream.append(ids[4]) == "a")
        #expect(stream.append(ids[1]) == "")
        #expect(stream.append(ids[6]) == "\u{FFFD}\u{FFFD}")
        #expect(stream.finish() == "")
    }

    /// The cost of a token must not grow with the text before it.
    @Test func takesAMillionTokens() throws {
        for name in ["byte-level", "llama-form"] {
            let tokenizer = try Goldens.tokenizer(name)
            let word = try #require(tokenizer.encode("the", addSpecialTokens: false).last)
            var stream = StreamingDetokenizer(tokenizer)
            var count = 0
            for _ in 0..<200_000 { count += stream.append(word).utf8.count }
            let first = tokenizer.decode([word]).utf8.count
            let further = tokenizer.decode([word, word]).utf8.count - first
            #expect(count + stream.finish().utf8.count == first + 199_999 * further)
        }
    }
}
