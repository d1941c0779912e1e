import Foundation
import JSON
import Testing
import Tokenizers

/// The seeds of the fuzzer are tokenizers that load, and a short deterministic run over damaged ones never traps.
@Suite struct FuzzSeedTests {
    private let seeds: [[UInt8]]

    init() throws {
        seeds = try Goldens.bytes("fuzz-seeds.jsonl").split(separator: UInt8(ascii: "\n")).map { Array($0) }
    }

    private let texts = ["", "the  inn\n12é <s>日<|ab xx \u{301}e\u{301} É", "\0\u{1F600}\u{10FFFF} 'S a\r\n\r\n  x"]

    @Test func seedsLoad() throws {
        #expect(seeds.count == 40)
        for (number, seed) in seeds.enumerated() {
            #expect(throws: Never.self, "seed \(number)") { try Tokenizer(json: seed) }
        }
    }

    @Test func damagedSeedsGiveErrorsOrTokenizers() {
        var state: UInt64 = 11
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        let inserts = ["-1", "2147483648", "1e308", "null", "[]", "{}", #""\ud800""#, #""(""#, "[[[[", "{2}", "+", "(?i:", "[^", "|"]
        var loaded = 0
        for _ in 0..<1500 {
            var bytes = seeds[random(seeds.count)]
            if random(4) == 0 { bytes.removeLast(random(bytes.count)) }
            for _ in 0..<random(3) where !bytes.isEmpty { bytes[random(bytes.count)] ^= UInt8(1 << random(8)) }
            if random(2) == 0, !bytes.isEmpty {
                let start = random(bytes.count)
                bytes.replaceSubrange(start..<min(bytes.count, start + random(6)), with: Array(inserts[random(inserts.count)].utf8))
            }
            guard let tokenizer = try? Tokenizer(json: bytes) else { continue }
            loaded += 1
            for text in texts {
                let ids = tokenizer.encode(text)
                var stream = StreamingDetokenizer(tokenizer)
                let joined = ids.map { Array(stream.append($0).utf8) }.joined() + Array(stream.finish().utf8)
                #expect(Array(joined) == Array(tokenizer.decode(ids).utf8))
            }
        }
        #expect(loaded > 100)
    }
}
