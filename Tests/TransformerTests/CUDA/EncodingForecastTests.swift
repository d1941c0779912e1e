import CUDA
import Foundation
import Operators
import Tensors
import Testing
import Transformer

/// What is compiled while a model is loaded is what texts of any lengths take: on a GPU whose kernels do nothing, by a compiler that makes nothing.
@Suite(.enabled(if: FakeGPU.clang != nil, "needs clang on the search path")) struct EncodingForecastTests {
    private struct Case: CustomTestStringConvertible {
        let testDescription: String
        var hidden = 64
        var intermediate = 64
        var heads = (query: 4, key: 1, size: 256)
        var windows: [Int?] = [512, nil, 512]
        var activation = TransformerSpec.Activation.geluTanh
        var norms = TransformerSpec.NormPlacement.sandwich
        var pooling = EncoderHead.Pooling.lastToken
        var dense: [(Int, hasBias: Bool)] = []
        var fusion = PrefillFusion.full
        var precision = MatrixPrecision.bfloat16
        var path = KernelPath.automatic
        var positions = 8192
        var capability = (9, 0)
    }

    private static let cases = [
        Case(testDescription: "whole layers, windows"),
        Case(testDescription: "whole layers, mean, dense layers", windows: [128, nil], pooling: .mean, dense: [(96, true), (32, false)]),
        Case(testDescription: "one layer, heads of 128", heads: (2, 1, 128), windows: [nil], activation: .silu, norms: .pre),
        Case(testDescription: "heads of 64, no long texts", heads: (2, 2, 64), windows: [nil, nil], positions: 300),
        Case(testDescription: "heads of 64, long texts", heads: (2, 2, 64), windows: [nil, nil], norms: .pre, pooling: .firstToken),
        Case(testDescription: "heads only", fusion: .heads),
        Case(testDescription: "nothing fused", heads: (2, 1, 128), windows: [nil, nil], activation: .silu, norms: .pre, fusion: .none),
        Case(testDescription: "codes", hidden: 128, windows: [512, 512, nil, 512, 512, nil], fusion: .heads, precision: .float8),
        Case(
            testDescription: "codes, few heads", heads: (2, 1, 64), windows: [nil, nil, nil, nil], activation: .silu, norms: .pre, fusion: .none,
            precision: .float8),
        Case(testDescription: "generic kernels", fusion: .none, path: .generic),
        Case(testDescription: "another GPU", heads: (2, 1, 128), pooling: .mean, fusion: .none, capability: (8, 0)),
    ]

    /// Lengths of batches: alone and together, of every kind of attention, of one row and of a full batch.
    private static let batches: [[Int]] =
        [[1], [2], [130], [300], [1100], [2050], [4100], [3, 200, 600, 1500, 4000], [Int](repeating: 1, count: 200)]
        + [1, 130, 300, 1100, 2050, 4100].map { [$0] + [Int](repeating: 8, count: (32_768 - $0) / 8) }
        + [[Int](repeating: 1, count: 30_000), [Int](repeating: 100, count: 327)]

    @Test(arguments: cases.indices) func nothingIsCompiledLateAndNothingInVain(index: Int) throws {
        let given = Self.cases[index]
        try FakeCompiler.withFolder { folder in
            let spec = spec(given)
            let weights = try weights(spec, in: folder)
            let head = try head(given, spec)
            let device = try FakeGPU.device(
                memory: 6 << 30,
                settings: ["FAKE_MAJOR": "\(given.capability.0)", "FAKE_MINOR": "\(given.capability.1)", "FAKE_THREADS": "1024", "FAKE_STATIC": "0"])
            func load(_ compiler: Compiler, prepares: Bool) throws -> CUDAExecutor {
                try CUDAExecutor(
                    spec: spec, weights: weights, device: device, path: given.path, fusion: given.fusion, precision: given.precision,
                    decoding: .layers, head: prepares ? head : nil, compiler: compiler)
            }
            func embed(_ executor: CUDAExecutor) throws {
                for lengths in Self.batches {
                    let fitting = lengths.filter { $0 <= given.positions }
                    guard !fitting.isEmpty else { continue }
                    let task = try executor.startEncoding(TokenBatch(fitting.map { [Int32](repeating: 1, count: $0) }), head: head)
                    // Nothing was computed: what lies in the memory may be no numbers.
                    do { _ = try task.wait() } catch let error as TransformerError { #expect(error.code == .nonFinite) }
                }
            }
            let compiler = try FakeCompiler.make(in: folder)
            let executor = try load(compiler, prepares: true)
            executor.finishPreparing()
            let count = compiler.compilationCount
            try embed(executor)
            #expect(compiler.compilationCount == count)

            let warm = try FakeCompiler.make(in: folder)
            let again = try load(warm, prepares: true)
            again.finishPreparing()
            try embed(again)
            #expect(warm.compilationCount == 0)

            try FakeCompiler.withFolder { other in
                let late = try FakeCompiler.make(in: other)
                try embed(load(late, prepares: false))
                #expect(late.compilationCount == count)
            }
        }
    }

    @Test func askedForLaterItIsTheSame() throws {
        try FakeCompiler.withFolder { folder in
            let given = Self.cases[0]
            let spec = spec(given)
            let compiler = try FakeCompiler.make(in: folder)
            let executor = try CUDAExecutor(
                spec: spec, weights: weights(spec, in: folder), device: FakeGPU.device(memory: 1 << 30), fusion: given.fusion, compiler: compiler)
            #expect(compiler.compilationCount == 0)
            for _ in 0..<2 { executor.prepareEncoding(EncoderHead(pooling: .lastToken)) }
            executor.finishPreparing()
            #expect(compiler.compilationCount > 6)
        }
    }

    private func spec(_ given: Case) -> TransformerSpec {
        TransformerSpec(
            vocabularySize: 40, hiddenSize: given.hidden, intermediateSize: given.intermediate, queryHeads: given.heads.query,
            keyValueHeads: given.heads.key, headDimension: given.heads.size,
            layers: given.windows.map { .init(window: $0, rope: .init(base: $0 == nil ? 1e6 : 1e4)) }, normPlacement: given.norms,
            normWeightOffset: 1,
            normEpsilon: 1e-6, hasQueryKeyNorm: true, activation: given.activation, attentionScale: 0.125, embeddingScale: 8, isBidirectional: false,
            hasTiedHead: true, maximumPositions: given.positions)
    }

    private func weights(_ spec: TransformerSpec, in folder: Foundation.URL) throws -> TransformerWeights {
        let path = folder.appendingPathComponent("weights").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        let names = spec.normPlacement == .sandwich ? Gemma3Family.tensorNames(for: spec) : Qwen3Family.tensorNames(for: spec)
        try RandomWeights(spec: spec, seed: 3).write(to: path, names: names, prefix: "model.")
        return try TransformerWeights(SafetensorsCheckpoint(directory: path), spec: spec, names: names)
    }

    private func head(_ given: Case, _ spec: TransformerSpec) throws -> EncoderHead {
        var columns = spec.hiddenSize
        let dense = try given.dense.map { rows, hasBias in
            func matrix(_ rows: Int, _ columns: Int) throws -> WeightMatrix {
                try WeightMatrix(
                    HostTensor([Float](repeating: 0.1, count: rows * columns), shape: [rows, columns]), name: "dense", rows: rows, columns: columns)
            }
            defer { columns = rows }
            return EncoderHead.Dense(weight: try matrix(rows, columns), bias: hasBias ? try matrix(1, rows) : nil, activation: .identity)
        }
        return EncoderHead(pooling: given.pooling, dense: dense)
    }
}
