import Testing
import Transformer

/// What lies in memory behind the steps of a pass, by which executors are compared.
@Suite struct PhaseTests {
    private func phases(_ steps: [PassStep]) -> [String] {
        var progress = PhaseProgress()
        return steps.flatMap { progress.phases(behind: $0).map { "\($0.layer) \($0.phase)" } }
    }

    @Test func operationByOperation() {
        let layer: [PassStep] = [.queryKeyValue, .queryKeyNorm, .attention, .output, .residual, .gateUp, .down, .residual]
        let expected = [LayerPhase.queries, .keys, .values, .attended, .middle, .gated, .hidden]
        #expect(phases([.embed] + layer + layer) == expected.map { "0 \($0)" } + expected.map { "1 \($0)" })
    }

    /// The kernel of whole layers keeps the middle residual to itself; the next layer's heads are there before its attention.
    @Test func wholeLayers() {
        let expected = [LayerPhase.queries, .keys, .values, .attended, .gated, .hidden]
        #expect(
            phases([.embed, .queryKeyValue, .windowedAttention, .layer, .attention, .layer, .residual]).prefix(12)
                == (expected.map { "0 \($0)" } + expected.map { "1 \($0)" })[...])
    }

    /// More rows than pass through a layer's matrices at once, so that each phase comes in parts.
    @Test func theCPUHandsOutEveryPhase() throws {
        let golden = try GoldenModel("gemma3-window") { $0.maximumPositions = 2048 }
        let (spec, executor) = (golden.spec, try golden.executor())
        let count = 700
        let batch = TokenBatch([(0..<count).map { Int32($0 % spec.vocabularySize) }])
        var hidden: [[Float]] = []
        try executor.hiddenStates(batch) { _, rows in hidden.append(rows) }
        var seen: [String] = []
        try executor.phases(batch) { layer, phase, rows in
            seen.append("\(layer) \(phase)")
            let width =
                switch phase {
                case .queries, .attended: spec.queryHeads * spec.headDimension
                case .keys, .values: spec.keyValueHeads * spec.headDimension
                case .middle, .hidden: spec.hiddenSize
                case .gated: spec.intermediateSize
                }
            #expect(rows.count == count * width)
            #expect(rows.allSatisfy { $0.isFinite } && rows.contains { $0 != 0 })
            if phase == .hidden { #expect(rows == hidden[layer]) }
        }
        #expect(seen == spec.layers.indices.flatMap { layer in LayerPhase.allCases.map { "\(layer) \($0)" } })
    }
}
