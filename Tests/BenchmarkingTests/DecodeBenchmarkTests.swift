import Benchmarking
import Testing
import Transformer

@Suite struct DecodeBenchmarkTests {
    private static func spec(window: Int? = nil) -> TransformerSpec {
        let layers = (0..<28).map { TransformerSpec.LayerSpec(window: $0 % 2 == 0 ? window : nil, rope: .init(base: 1e6)) }
        return TransformerSpec(
            vocabularySize: 151_936, hiddenSize: 1024, intermediateSize: 3072, queryHeads: 16, keyValueHeads: 8, headDimension: 128, layers: layers,
            normPlacement: .pre, normWeightOffset: 0, normEpsilon: 1e-6, hasQueryKeyNorm: true, activation: .silu, attentionScale: 1 / 16,
            embeddingScale: nil, isBidirectional: false, hasTiedHead: true, maximumPositions: 40_960)
    }

    /// The published shape: 595,984,384 weights in matrices, 114,688 bytes a cached position.
    @Test func aTokenReadsWeightsAndCache() {
        let spec = Self.spec()
        let work = DecodeWork(spec: spec, position: 1900)
        #expect(work.weightBytes == 1_191_968_768 && work.cacheBytes == 1900 * 114_688)
        #expect(work.bytes == work.weightBytes + work.cacheBytes)
        #expect(work.operations == 1_191_968_768 + 28 * 4 * 1901 * 2048)
        let half = DecodeWork(spec: spec, position: 1900, weightBits: 8)
        #expect(half.weightBytes == 595_984_384 && half.cacheBytes == work.cacheBytes && half.operations == work.operations)
        let codes = DecodeWork(spec: spec, position: 1900, cacheFormat: .float8)
        #expect(codes.weightBytes == work.weightBytes && codes.cacheBytes == 1900 * 28 * 2 * 8 * 129)
        // Half of the layers see the last 512 positions, the token's own among them.
        let windowed = DecodeWork(spec: Self.spec(window: 512), position: 1900)
        #expect(windowed.cacheBytes == 14 * (1900 + 511) * 4096)
        #expect(DecodeWork(spec: Self.spec(window: 512), position: 0).cacheBytes == 0)
    }

    @Test func exchangesAreThoseOfTheKernel() throws {
        for (hasRing, unshared) in [(true, 256), (false, 128)] {
            let plan = try DecodePlan(Self.spec(), multiprocessors: 132, sharedByteLimit: 232_448, hasRing: hasRing)
            #expect(plan.pairedPositions == unshared && plan.unsharedPositions <= unshared)
            #expect(plan.exchanges(Self.spec(), position: unshared - 1) == 4 * 28 + 1)
            #expect(plan.exchanges(Self.spec(), position: unshared) == 5 * 28 + 1)
            #expect(plan.exchanges(Self.spec(window: unshared), position: 500) == 14 * 4 + 14 * 5 + 1)
        }
    }

    private static func row(_ context: Int, microseconds: [Double], power: GPUWatch.Reading? = nil) throws -> DecodeBenchmark.Row {
        let samples = microseconds.map { $0 * 1e-6 }
        return DecodeBenchmark.Row(
            context: context, samples: samples, seconds: try #require(Spread(samples)), work: DecodeWork(spec: spec(), position: context),
            exchanges: 113, power: power, watchedTokens: 1000)
    }

    @Test func figuresOfARow() throws {
        let row = try Self.row(0, microseconds: [300, 400, 500], power: .init(megahertz: 1755, joules: 200, seconds: 0.5))
        #expect(abs(row.tokensPerSecond - 2500) < 1e-6)
        #expect(abs(row.bytesPerSecond / 2.97992192e12 - 1) < 1e-9)
        #expect(row.tokensPerJoule == 5 && row.power?.watts == 400)
        // 400 us less the 254.7 that reading takes, over 113 exchanges.
        let bound = try #require(row.exchangeBound(readRate: 4.68e12))
        #expect(abs(bound - (400 - 1_191_968_768 / 4.68e6) / 113) < 1e-9)
        #expect(row.exchangeBound(readRate: 1e12) == 0 && row.exchangeBound(readRate: nil) == nil)
        #expect(DecodeBenchmark.note(row, readRate: 4.68e12) == "113 exchanges, 1.3 us each at most, 1755 MHz, 400 W, 5.0 tok/J")
        #expect(try DecodeBenchmark.note(Self.row(0, microseconds: [1]), readRate: nil) == "113 exchanges")
    }

    @Test func memoryIsSummedUp() {
        let memory = DecodeBenchmark.Memory(
            weights: 1_200_000_000, engine: 1_300_000_000, cache: 30_000_000, space: 2_000_000, measured: 2_600_000_000)
        #expect(memory.predicted == 2_532_000_000)
        #expect(DecodeBenchmark.text(memory).hasPrefix("GPU memory: 2600 MB taken, 2532 MB predicted"))
    }

    @Test func formsAreHeldAgainstTheKernelAsItIs() throws {
        let row = try Self.row(200, microseconds: [300, 400, 500])
        func form(_ microseconds: [Double], same: Int, isRival: Bool) -> DecodeBenchmark.FormRow {
            DecodeBenchmark.FormRow(
                name: "no pace", context: 200, samples: microseconds.map { $0 * 1e-6 }, agreement: (same, 97), isRival: isRival)
        }
        let slower = form([410, 420, 430], same: 97, isRival: false), faster = form([380], same: 12, isRival: true)
        #expect(DecodeBenchmark.difference(slower, from: row) == "+20.0 us, +5.0 %" && slower.agreementText == "the same 97 tokens")
        #expect(DecodeBenchmark.difference(faster, from: row) == "-20.0 us, -5.0 %")
        #expect(faster.agreementText == "the same tokens up to the 13th of 97")
        #expect(DecodeBenchmark.difference(form([], same: 0, isRival: false), from: row).isEmpty)
    }
}
