import Operators
import Tensors
import Testing
import Transformer

/// What a pass on a GPU is planned from, without a GPU.
@Suite struct PassPlanTests {
    @Test func groupsHoldWholeSequencesUpToTheLimit() {
        #expect(SequenceGroups(offsets: [0, 300, 700, 701, 1400, 1410], limit: 512).ranges == [0..<1, 1..<3, 3..<4, 4..<5])
        #expect(SequenceGroups(offsets: [0, 512, 1024], limit: 512).ranges == [0..<1, 1..<2])
        #expect(SequenceGroups(offsets: [0, 512, 1024], limit: 1024).ranges == [0..<2])
        // A sequence longer than the limit goes by itself, wherever it stands.
        #expect(SequenceGroups(offsets: [0, 9, 10], limit: 4).ranges == [0..<1, 1..<2])
        #expect(SequenceGroups(offsets: [0, 1, 10], limit: 4).ranges == [0..<1, 1..<2])
        #expect(SequenceGroups(offsets: [0, 7], limit: .max).ranges == [0..<1])
        #expect(SequenceGroups(offsets: [0], limit: 4).ranges.isEmpty)
        for lengths in [[1, 1, 1, 1, 1, 1, 1], [3, 3, 3], [4, 1, 4, 1], [5, 5], [2, 2, 2, 9, 1, 1]] {
            let offsets = lengths.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1) }
            let ranges = SequenceGroups(offsets: offsets, limit: 4).ranges
            #expect(ranges.flatMap { Array($0) } == Array(lengths.indices))
            for range in ranges { #expect(range.count == 1 || lengths[range].reduce(0, +) <= 4) }
        }
    }

    @Test func inputsAreIdsPositionsAndOffsetsOfEachGroup() {
        let batch = TokenBatch([[10, 11, 12], [20], [30, 31]])
        let whole = EncodeInputs(batch, groupRows: 100)
        #expect(whole.values == [10, 11, 12, 20, 30, 31, 0, 1, 2, 0, 0, 1, 0, 3, 4, 6, 2, 3, 5, 2, 0, 1, 0, 1, 2, 3])
        #expect(whole.groups == [.init(sequences: 0..<3, rows: 0..<6, lengths: [3, 1, 2], offsetsStart: 12)])
        #expect(whole.largestGroup == 6)
        let split = EncodeInputs(batch, groupRows: 3)
        #expect(split.values == [10, 11, 12, 20, 30, 31, 0, 1, 2, 0, 0, 1, 0, 3, 2, 2, 0, 1, 0, 1, 3, 0, 2, 0, 1, 0, 1, 2])
        #expect(
            split.groups == [
                .init(sequences: 0..<1, rows: 0..<3, lengths: [3], offsetsStart: 12),
                .init(sequences: 1..<3, rows: 3..<6, lengths: [1, 2], offsetsStart: 18),
            ])
        #expect(split.largestGroup == 3)
    }

    @Test func oneHundredThousandShortTextsAreOneBatch() {
        let inputs = EncodeInputs(TokenBatch((0..<100_000).map { [Int32($0 % 7)] }), groupRows: 16_384)
        #expect(inputs.groups.count == 7)
        #expect(inputs.groups.map(\.sequences.count).reduce(0, +) == 100_000)
        #expect(inputs.values.count == 200_000 + 400_000 + 2 * 7)
    }

    @Test func theCacheGrowsByHalfAndNeverPastTheModel() {
        #expect(DeviceKeyValueCache.grownCapacity(0, needed: 1, maximum: 4096) == 256)
        #expect(DeviceKeyValueCache.grownCapacity(256, needed: 257, maximum: 4096) == 384)
        #expect(DeviceKeyValueCache.grownCapacity(256, needed: 1000, maximum: 4096) == 1000)
        #expect(DeviceKeyValueCache.grownCapacity(4000, needed: 4001, maximum: 4096) == 4096)
        #expect(DeviceKeyValueCache.grownCapacity(0, needed: 3, maximum: 100) == 100)
    }

    @Test(arguments: GoldenModel.encoders) func noTwoWeightsShareMemory(name: String) throws {
        let spec = try GoldenModel(name).spec
        let placement = WeightPlacement(spec, hasOwnHead: true)
        let own = WeightPlacement(spec, hasOwnHead: false)
        let (c, d) = (spec.hiddenSize, spec.headDimension)
        #expect(placement.byteCount - own.byteCount == ArenaLayout.rounded(2 * spec.vocabularySize * c))
        var parts = [(placement.embedding, 2 * spec.vocabularySize * c), (placement.finalNorm, 4 * c)]
        if let head = placement.head { parts.append((head, 2 * spec.vocabularySize * c)) }
        for layer in placement.layers {
            parts += [layer.attentionNorm, layer.attentionOutputNorm, layer.feedForwardNorm, layer.feedForwardOutputNorm].map { ($0, 4 * c) }
            parts += [layer.queryNorm, layer.keyNorm].map { ($0, 4 * d) }
            parts += [
                (layer.queryKeyValue, 2 * (spec.queryHeads + 2 * spec.keyValueHeads) * d * c), (layer.output, 2 * spec.queryHeads * d * c),
                (layer.gateUp, 4 * spec.intermediateSize * c), (layer.down, 2 * spec.intermediateSize * c),
            ]
        }
        parts.sort { $0.0 < $1.0 }
        for (part, next) in zip(parts, parts.dropFirst()) { #expect(part.0 + part.1 <= next.0) }
        for part in parts { #expect(part.0 % 256 == 0 && part.0 + part.1 <= placement.byteCount) }
    }

    @Test func onlyGatedRowsLieOverTheProjections() throws {
        var spec = try GoldenModel("gemma3-encoder").spec
        for intermediate in [8, 64, 4096] {
            spec.intermediateSize = intermediate
            let rows = 37
            let place = PassSpace.Placement(spec, rows: rows, residual: .whole)
            let (c, d) = (spec.hiddenSize, spec.headDimension)
            let projected = 2 * rows * (spec.queryHeads + 2 * spec.keyValueHeads) * d
            #expect(place.x + 4 * rows * c <= place.h && place.h + 2 * rows * c <= place.branch)
            #expect(place.branch + 2 * rows * c <= place.queryKeyValue && place.gated == place.queryKeyValue)
            #expect(place.queryKeyValue + projected <= place.attended)
            #expect(place.attended + 2 * rows * spec.queryHeads * d <= place.byteCount)
            #expect(place.gated + 2 * rows * intermediate <= place.byteCount)
        }
    }

    @Test func masksFollowTheLayers() throws {
        var spec = try GoldenModel("gemma3-encoder").spec
        spec.layers[0].window = 512
        spec.layers[1].window = nil
        spec.isBidirectional = false
        #expect(spec.mask(layer: 0) == .window(512))
        #expect(spec.mask(layer: 1) == .causal)
        spec.isBidirectional = true
        #expect(spec.mask(layer: 0) == .around(left: 511, right: 511))
        #expect(spec.mask(layer: 1) == .full)
    }

    @Test func shapesThatTheKernelsDoNotComputeAreNamed() throws {
        var spec = try GoldenModel("qwen3-encoder").spec
        spec.headDimension = 128
        spec.hiddenSize = 1024
        spec.intermediateSize = 3072
        #expect(DeviceWeights.obstacle(spec) == nil)
        func obstacle(_ change: (inout TransformerSpec) -> Void) -> String {
            var changed = spec
            change(&changed)
            return DeviceWeights.obstacle(changed) ?? "none"
        }
        #expect(obstacle { $0.headDimension = 96 }.contains("96"))
        #expect(obstacle { $0.hiddenSize = 1020 }.contains("1020"))
        #expect(obstacle { $0.hiddenSize = 16_384 }.contains("16384"))
        #expect(obstacle { $0.intermediateSize = 3071 }.contains("3071"))
        #expect(obstacle { $0.queryHeads = 65 * $0.keyValueHeads }.contains("65 query heads"))
        #expect(obstacle { $0.hasQueryKeyNorm = false }.contains("no norm"))
    }

    @Test func aWeightThatIsNotANumberIsNamed() throws {
        let golden = try GoldenModel("qwen3-encoder")
        try WeightCheck.requireFinite(golden.weights.all)
        for bad in [Float.nan, .infinity, -.infinity] {
            for dtype in [DType.float32, .float16, .bfloat16] {
                var values = [Float](repeating: 1, count: 600)
                values[377] = bad
                let matrix = try WeightMatrix(HostTensor(values, shape: [20, 30], as: dtype), name: "w", rows: 20, columns: 30)
                let error = #expect(throws: TransformerError.self) { try WeightCheck.requireFinite([golden.weights.embedding, matrix]) }
                #expect(error?.code == .nonFinite)
                #expect(error?.message.contains("'w'") == true && error?.message.contains("element 377") == true)
            }
        }
        let largest = try WeightMatrix(
            HostTensor([Float.greatestFiniteMagnitude, -65504], shape: [1, 2], as: .float32), name: "w", rows: 1, columns: 2)
        try WeightCheck.requireFinite([largest])
    }
}
