import Benchmarking
import Testing
import Transformer

@Suite struct EmbedWorkTests {
    @Test(arguments: [(1, nil), (5, nil), (5, 1), (5, 2), (5, 5), (5, 9), (600, 512)] as [(Int, Int?)])
    func pairsAreThoseThatTheMaskLetsThrough(length: Int, window: Int?) {
        var (causal, both) = (0, 0)
        for query in 0..<length {
            for key in 0..<length where window.map({ abs(query - key) < $0 }) ?? true {
                both += 1
                if key <= query { causal += 1 }
            }
        }
        #expect(EmbedWork.pairs(length, window: window, isBidirectional: false) == causal)
        #expect(EmbedWork.pairs(length, window: window, isBidirectional: true) == both)
    }

    /// The figures of the Gemma3-270m shape: 100,270,080 weights in matrices, 4 · 1024 operations a pair and layer.
    @Test func theWorkOfTheReferenceShape() {
        let layers = (0..<18).map { TransformerSpec.LayerSpec(window: $0 % 6 == 5 ? nil : 512, rope: .init(base: 1e4)) }
        let spec = TransformerSpec(
            vocabularySize: 262_144, hiddenSize: 640, intermediateSize: 2048, queryHeads: 4, keyValueHeads: 1, headDimension: 256, layers: layers,
            normPlacement: .sandwich, normWeightOffset: 1, normEpsilon: 1e-6, hasQueryKeyNorm: true, activation: .geluTanh,
            attentionScale: 1 / 16, embeddingScale: 25, isBidirectional: false, hasTiedHead: true, maximumPositions: 32_768)
        #expect(EmbedWork.matrixParameters(spec) == 100_270_080)
        let short = EmbedWork(spec: spec, length: 128, count: 64)
        #expect(short.trueOperations == short.publishedOperations)
        let operationsPerToken: Double = 200_540_160 + 18 * 4096 * 64.5
        #expect(short.trueOperations == 8192 * operationsPerToken)
        let long = EmbedWork(spec: spec, length: 4096, count: 16)
        let published: Double = 16.73e12
        let off: Double = abs(long.trueOperations / published - 1)
        #expect(off < 0.001)
        let excess: Double = long.publishedOperations / long.trueOperations
        #expect(excess > 1.3)
    }

    @Test func shapesAreRead() {
        #expect(EmbedBenchmark.Shape("512x16") == EmbedBenchmark.Shape(length: 512, count: 16))
        for text in ["", "512", "512x", "x16", "0x16", "512x0", "512x16x2", "ax2", "-1x2"] { #expect(EmbedBenchmark.Shape(text) == nil, "\(text)") }
        #expect(EmbedBenchmark.Shape.published.map(\.description) == ["128x64", "256x32", "512x16", "1024x8", "4096x16", "10240x4"])
        #expect(EmbedBenchmark.Shape.published.map(\.tokens) == [8192, 8192, 8192, 8192, 65_536, 40_960])
    }
}
