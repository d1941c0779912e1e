import Apus
import Testing

@Suite struct StopStringTests {
    /// What the matcher lets through of `text` when it comes in these pieces.
    private func output(_ pieces: [String], stops: [String]) -> (text: String, matched: Bool) {
        var matcher = StopStringMatcher(stops)
        var text = ""
        for piece in pieces {
            text += matcher.append(piece)
            if matcher.isMatched { return (text, true) }
        }
        return (text + matcher.finish(), false)
    }

    /// The first stop string to be complete, found by looking at every end of the text.
    private func expected(_ text: String, stops: [String]) -> (text: String, matched: Bool) {
        let bytes = Array(text.utf8)
        for end in 0...bytes.count {
            let lengths = stops.map { Array($0.utf8) }.filter { !$0.isEmpty && end >= $0.count && bytes[end - $0.count..<end].elementsEqual($0) }
            if let longest = lengths.map(\.count).max() { return (String(decoding: bytes[..<(end - longest)], as: UTF8.self), true) }
        }
        return (text, false)
    }

    @Test func bordersOfPiecesMakeNoDifference() {
        var state: UInt64 = 1
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        let letters = ["a", "b", "ab", "é", "🕊", "\n", "\u{301}", "aa"]
        for _ in 0..<3000 {
            let text = (0..<random(20)).map { _ in letters[random(letters.count)] }.joined()
            let stops = (0..<1 + random(3)).map { _ in (0..<1 + random(3)).map { _ in letters[random(letters.count)] }.joined() }
            var pieces: [String] = []
            var piece = String.UnicodeScalarView()
            for scalar in text.unicodeScalars {
                piece.append(scalar)
                if random(3) == 0 {
                    pieces.append(String(piece))
                    piece = String.UnicodeScalarView()
                }
            }
            pieces.append(String(piece))
            let (actual, wanted) = (output(pieces, stops: stops), expected(text, stops: stops))
            #expect(actual.matched == wanted.matched, "\(pieces) \(stops)")
            #expect(actual.text.utf8.elementsEqual(wanted.text.utf8), "\(pieces) \(stops)")
        }
    }

    @Test func textIsHeldBackOnlyWhileItMayBeAStop() {
        var matcher = StopStringMatcher(["END"])
        #expect(matcher.append("a E") == "a ")
        #expect(matcher.append("N") == "")
        #expect(matcher.append("x") == "ENx")
        #expect(matcher.append("END") == "")
        #expect(matcher.isMatched)
        #expect(matcher.append("more") == "")
    }

    @Test func withoutStopsEverythingPasses() {
        var matcher = StopStringMatcher([""])
        #expect(matcher.append("abc") == "abc")
        #expect(!matcher.isMatched)
    }
}
