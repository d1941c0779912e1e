import Benchmarking
import Tensors
import Testing

/// What times say about work, worked out by hand.
@Suite struct MetricsTests {
    private let peaks = Peaks(bf16: 1000e12, fp8: 2000e12, fp32: 60e12, bandwidth: 5e12, source: "a test")

    @Test func aProductByHand() throws {
        let work = Work.product(m: 1000, n: 2000, k: 500, input: .bfloat16, output: .float32)
        #expect(work.operations == 2e9)
        // A, B and C, each once.
        #expect(work.bytes == 1_000_000 + 2_000_000 + 8_000_000)
        let metrics = try Metrics(work, seconds: 4e-6, peaks: peaks)
        #expect(metrics.operationsPerSecond == 5e14)
        #expect(metrics.shareOfArithmetic == 0.5)
        #expect(abs(metrics.bytesPerSecond - 2.75e12) < 1)
        #expect(abs((metrics.shareOfBandwidth ?? 0) - 0.55) < 1e-12)
        #expect(metrics.shareOfRoof == metrics.shareOfBandwidth)
        #expect(abs(metrics.intensity - 2e9 / 11e6) < 1e-9)
    }

    @Test func fp8IsHeldAgainstItsOwnPeak() throws {
        let work = Work.product(m: 100, n: 100, k: 100, input: .float8E4M3, output: .bfloat16, extraBytes: 8)
        #expect(work.unit == .fp8 && work.bytes == 40_008)
        #expect(try Metrics(work, seconds: 1e-9, peaks: peaks).shareOfArithmetic == 1)
    }

    @Test func aGatedProductByHand() {
        let work = Work.gatedProduct(m: 10, intermediate: 30, hidden: 20, dtype: .bfloat16)
        #expect(work.operations == 24_000)
        #expect(work.bytes == 400 + 2400 + 600)
    }

    @Test func elementwiseWorkByHand() throws {
        let metrics = try Metrics(.elementwise(3_000_000, 1_000_000, 1_000_000), seconds: 2e-6, peaks: peaks)
        #expect(metrics.shareOfBandwidth == 0.5 && metrics.shareOfArithmetic == nil && metrics.shareOfRoof == 0.5)
    }

    @Test func itemsHaveARate() throws {
        let work = Work(bytes: 10, items: 64, itemName: "tokens")
        #expect(try Metrics(work, seconds: 0.5, peaks: peaks).itemsPerSecond == 128)
    }

    /// An unknown GPU has no peaks, and borrows none.
    @Test func withoutPeaksThereAreNoShares() throws {
        let metrics = try Metrics(.elementwise(100), seconds: 1, peaks: Peaks(source: "unknown"))
        #expect(metrics.shareOfRoof == nil && metrics.shareOfBandwidth == nil && metrics.bytesPerSecond == 100)
    }

    @Test(arguments: [0, -1e-6, Double.nan, .infinity])
    func timesThatCannotBe(seconds: Double) {
        #expect(throws: MetricsError.self) { try Metrics(.elementwise(100), seconds: seconds, peaks: peaks) }
    }

    @Test func workThatIsNone() {
        #expect(throws: MetricsError.self) { try Metrics(Work(bytes: 0), seconds: 1, peaks: peaks) }
        #expect(throws: MetricsError.self) { try Metrics(Work(operations: -1, bytes: 5), seconds: 1, peaks: peaks) }
    }
}
