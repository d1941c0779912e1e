import Apus
import Testing

@Suite struct StopStringCostTests {
    /// A stop string that nearly matches everywhere, long and periodic, must not make the text's cost its length times the stop's.
    @Test func longPeriodicStopStringsCostNoMoreThanShortOnes() {
        let stop = String(repeating: "a", count: 20_000) + "b"
        var matcher = StopStringMatcher([stop, stop + "c"])
        var handedOut = 0
        for _ in 0..<2_000 { handedOut += matcher.append(String(repeating: "a", count: 100)).utf8.count }
        #expect(handedOut == 200_000 - 20_000)
        #expect(matcher.append("b") == "")
        #expect(matcher.isMatched)
    }

    @Test func theMatchCanBeIncluded() {
        var matcher = StopStringMatcher(["END", "ND!"], includesMatch: true)
        #expect(matcher.append("text E") == "text ")
        #expect(matcher.append("ND! more") == "END")
        #expect(matcher.isMatched)
        #expect(matcher.finish() == "")
    }

    @Test func theEarlierBeginningWinsAmongStopsThatEndTogether() {
        var matcher = StopStringMatcher(["cd", "abcd", "bcd"])
        #expect(matcher.append("xabcd") == "x")
        #expect(matcher.isMatched)
    }
}
