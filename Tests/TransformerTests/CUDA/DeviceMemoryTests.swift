import CUDA
import Foundation
import Operators
import Tensors
import Testing
import Transformer

/// What lies in a GPU's memory, and what happens when it is too little: on a driver whose GPU memory is the host's.
@Suite(.enabled(if: FakeGPU.isAvailable, FakeGPU.reason)) struct DeviceMemoryTests {
    static let spec = TransformerSpec(
        vocabularySize: 40, hiddenSize: 64, intermediateSize: 24, queryHeads: 2, keyValueHeads: 1, headDimension: 64,
        layers: [.init(window: 4, rope: .init(base: 1e4)), .init(window: nil, rope: .init(base: 1e6))], normPlacement: .sandwich,
        normWeightOffset: 1, normEpsilon: 1e-6, hasQueryKeyNorm: true, activation: .geluTanh, attentionScale: 0.125, embeddingScale: 8,
        isBidirectional: false, hasTiedHead: true, maximumPositions: 1000)

    static func weights(_ dtype: DType) throws -> TransformerWeights {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("weights-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        // The mapping outlives the file.
        defer { try? FileManager.default.removeItem(at: folder) }
        let names = Gemma3Family.tensorNames(for: Self.spec)
        try RandomWeights(spec: spec, seed: 3, dtype: dtype).write(to: folder.path, names: names, prefix: "model.")
        return try TransformerWeights(SafetensorsCheckpoint(directory: folder.path), spec: Self.spec, names: names)
    }

    @Test(arguments: [DType.bfloat16, .float16, .float32]) func weightsLieAsTheKernelsReadThem(dtype: DType) throws {
        let context = try FakeGPU.context(memory: 8 << 20)
        let host = try Self.weights(dtype)
        let device = try DeviceWeights(host, spec: Self.spec, on: context)
        #expect(device.roundedFrom == (dtype == .bfloat16 ? nil : dtype.safetensorsName))
        func rounded(_ matrix: WeightMatrix) -> [Float] { matrix.floats.map { Float(BFloat16($0)) } }
        func floats(_ tensor: DeviceTensor) throws -> [Float] { try context.download(tensor).float32() }
        #expect(try floats(device.embedding) == rounded(host.embedding))
        #expect(try floats(device.finalNorm) == host.finalNorm.floats)
        #expect(device.head?.address == device.embedding.address)
        for (layer, source) in zip(device.layers, host.layers) {
            #expect(try floats(layer.queryKeyValue) == rounded(source.query) + rounded(source.key) + rounded(source.value))
            #expect(layer.queryKeyValue.shape == [4 * 64, 64])
            #expect(try floats(layer.output) == rounded(source.output))
            #expect(try floats(layer.down) == rounded(source.down))
            #expect(try floats(layer.attentionNorm) == source.attentionNorm.floats)
            #expect(try floats(layer.queryNorm) == source.queryNorm?.floats)
            #expect(try layer.feedForwardOutputNorm.map { try floats($0) } == source.feedForwardOutputNorm?.floats)
            let packed = try floats(layer.gateUp.tensor)
            let (gate, up) = (rounded(source.gate), rounded(source.up))
            #expect(layer.gateUp.tensor.shape == [3, 2, 8, 64] && layer.gateUp.intermediateSize == 24)
            for row in 0..<24 {
                let place = (row / 8 * 16 + row % 8) * 64
                #expect(Array(packed[place..<place + 64]) == Array(gate[row * 64..<(row + 1) * 64]))
                #expect(Array(packed[place + 512..<place + 576]) == Array(up[row * 64..<(row + 1) * 64]))
            }
        }
    }

    @Test func tooLittleMemoryForTheWeightsNamesTheWhole() throws {
        let context = try FakeGPU.context(memory: 64 << 10)
        let host = try Self.weights(.bfloat16)
        let error = errorOf { _ = try DeviceWeights(host, spec: Self.spec, on: context) }
        #expect(error?.code == .outOfMemory)
        let need = WeightPlacement(Self.spec, hasOwnHead: false).byteCount
        let message = error?.message ?? ""
        #expect(message.contains("cannot give \(need / 1024)."))
        #expect(message.contains(" KiB of memory: 64.0 KiB of 64.0 KiB are free"))
    }

    @Test func aSmallerBatchRunsAfterOneThatDidNotFit() throws {
        let context = try FakeGPU.context(memory: 1 << 20)
        func space(_ rows: Int) throws -> Int {
            try PassSpace(Self.spec, rows: rows, residual: .whole, on: context.stream).capacity
        }
        let error = errorOf { _ = try space(2000) }
        #expect(error?.code == .outOfMemory)
        let need = PassSpace.Placement(Self.spec, rows: 2000, residual: .whole).byteCount
        #expect(
            error?.message.contains("cannot give \(String(format: "%.1f", Double(need) / 1_048_576)) MiB of memory: 1.0 MiB of 1.0 MiB are free")
                == true)
        #expect(try space(400) == 400)
    }

    @Test func aCacheThatGrowsKeepsWhatItHolds() throws {
        let context = try FakeGPU.context(memory: 4 << 20)
        let cache = DeviceKeyValueCache(spec: Self.spec, on: context)
        #expect(cache.byteCount == 0)
        #expect(throws: TransformerError.self) { try cache.map(rows: 32) }
        try cache.reserve(10)
        #expect(cache.capacity == 256 && cache.byteCount == 2 * 2 * 256 * 64 * 2)
        var marks: [[UInt16]] = []
        for layer in 0..<2 {
            for (half, tensor) in [try cache.keys(layer: layer), try cache.values(layer: layer)].enumerated() {
                let rows = (0..<200 * 64).map { UInt16(truncatingIfNeeded: $0 &* 7 &+ layer * 1000 + half * 77) }
                #expect(tensor.shape == [256, 1, 64])
                try context.stream.upload(rows, to: tensor.slice(0, 0..<200).region)
                marks.append(rows)
            }
        }
        cache.move(to: 200)
        try cache.reserve(256)
        #expect(cache.capacity == 256)
        try cache.reserve(257)
        #expect(cache.capacity == 384 && cache.position == 200)
        for layer in 0..<2 {
            #expect(try context.stream.download(UInt16.self, from: cache.keys(layer: layer).slice(0, 0..<200).region) == marks[2 * layer])
            #expect(try context.stream.download(UInt16.self, from: cache.values(layer: layer).slice(0, 0..<200).region) == marks[2 * layer + 1])
        }
        // The fake driver's map: element, rank, address, innermost size, first stride, innermost extent of the box, swizzle, promotion.
        let map = withUnsafeBytes(of: try cache.map(rows: 32)) { Array($0.bindMemory(to: UInt64.self)) }
        #expect(map[0..<8] == [9, 4, try cache.keys(layer: 0).address.bits, 64, 128, 64, 3, 3])
        // Too much for the memory: the cache is as it was.
        let error = #expect(throws: (any Error).self) { try cache.reserve(100_000) }
        let message = error.map { "\($0)" } ?? ""
        #expect(message.contains("cannot give"))
        #expect(cache.capacity == 384 && cache.position == 200)
        cache.move(to: 20)
        #expect(cache.position == 20)
    }

    @Test func aCacheOfCodesKeepsItsExponentsToo() throws {
        let context = try FakeGPU.context(memory: 4 << 20)
        var spec = Self.spec
        (spec.keyValueHeads, spec.headDimension, spec.queryHeads) = (2, 128, 2)
        let cache = DeviceKeyValueCache(spec: spec, format: .float8, on: context)
        #expect(cache.byteCount == 0)
        try cache.reserve(10)
        #expect(cache.capacity == 256 && cache.byteCount == 2 * 2 * 256 * 2 * (128 + 1))
        func tensors() throws -> [DeviceTensor] {
            try (0..<2).flatMap {
                [try cache.keys(layer: $0), try cache.values(layer: $0)]
                    + [try cache.keyExponents(layer: $0), try cache.valueExponents(layer: $0)].compactMap { $0 }
            }
        }
        var marks: [[UInt8]] = []
        for (index, tensor) in try tensors().enumerated() {
            #expect(tensor.shape == (index % 4 < 2 ? [256, 2, 128] : [256, 2]))
            let rows = (0..<200 * tensor.strides[0]).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ index * 31) }
            try context.stream.upload(rows, to: tensor.slice(0, 0..<200).region)
            marks.append(rows)
        }
        cache.move(to: 200)
        try cache.reserve(257)
        #expect(cache.capacity == 384 && cache.byteCount == 2 * 2 * 384 * 2 * 129 && cache.position == 200)
        for (tensor, mark) in zip(try tensors(), marks) {
            #expect(tensor.shape[0] == 384)
            #expect(try context.stream.download(UInt8.self, from: tensor.slice(0, 0..<200).region) == mark)
        }
        let exponents = try #require(try cache.exponents())
        #expect(exponents.shape == [2, 2, 384, 2])
        #expect(try cache.valueExponents(layer: 1)?.address.bits == exponents.address.bits + UInt64(3 * 384 * 2))
        // Bytes, a row of 128 of them, one box a row.
        let map = withUnsafeBytes(of: try cache.map(rows: 32)) { Array($0.bindMemory(to: UInt64.self)) }
        #expect(map[0..<8] == [0, 4, try cache.keys(layer: 0).address.bits, 128, 128, 128, 3, 3])
        cache.move(to: 20)
        #expect(cache.position == 20)
        let plain = DeviceKeyValueCache(spec: spec, on: context)
        try plain.reserve(1)
        #expect(try plain.keyExponents(layer: 0) == nil && plain.byteCount == 2 * 2 * 256 * 2 * 128 * 2)
    }

    /// The driver's error in what was thrown, as it is or wrapped by an operator.
    private func errorOf(_ work: () throws -> Void) -> CUDAError? {
        do {
            try work()
            return nil
        } catch {
            return error as? CUDAError ?? (error as? OperatorError)?.cuda
        }
    }
}
