import Benchmarking
import Testing

@Suite struct SpreadTests {
    @Test func quantilesLieBetweenRanks() throws {
        let spread = try #require(Spread([5, 1, 3, 2, 4]))
        #expect(spread.count == 5)
        #expect(spread.median == 3)
        #expect(abs(spread.p10 - 1.4) < 1e-12)
        #expect(abs(spread.p90 - 4.6) < 1e-12)
        #expect(Spread([7])?.p90 == 7)
    }

    @Test func nothingAndNaNHaveNoSpread() {
        #expect(Spread([]) == nil)
        #expect(Spread([1, .nan]) == nil)
        #expect(Spread([.infinity]) == nil)
    }

    @Test func theSystemTellsMemory() throws {
        let resident = try #require(ProcessMemory.residentByteCount)
        #expect(resident > 1 << 20)
        #expect(try #require(ProcessMemory.peakByteCount) >= resident)
    }
}
