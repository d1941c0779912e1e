import CUDA
import Foundation
import Operators
import Tensors
import Testing
import Transformer

/// The forms of the kernel of whole layers that an executor asks for: they compile without a spill, where NVRTC is there, and their shapes fit.
@Suite struct LayerKernelFormTests {
    private static let variables = ProcessInfo.processInfo.environment.filter { ["APUS_NVRTC", "CUDA_HOME", "CUDA_PATH"].contains($0.key) }
    private static let compiler = try? Compiler(environment: Environment(variables))

    struct Model: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let columns, intermediate, queryHeads, keyHeads, head: Int
        let isSandwich: Bool

        func spec() throws -> TransformerSpec {
            var spec = try GoldenModel(isSandwich ? "gemma3-encoder" : "qwen3-encoder").spec
            (spec.hiddenSize, spec.intermediateSize, spec.headDimension) = (columns, intermediate, head)
            (spec.queryHeads, spec.keyValueHeads) = (queryHeads, keyHeads)
            return spec
        }
    }

    static let models = [
        Model(testDescription: "270m", columns: 640, intermediate: 2048, queryHeads: 4, keyHeads: 1, head: 256, isSandwich: true),
        Model(testDescription: "300m", columns: 768, intermediate: 1152, queryHeads: 3, keyHeads: 1, head: 256, isSandwich: true),
        Model(testDescription: "0.6b", columns: 1024, intermediate: 3072, queryHeads: 16, keyHeads: 8, head: 128, isSandwich: false),
        Model(testDescription: "heads of 64", columns: 192, intermediate: 576, queryHeads: 2, keyHeads: 1, head: 64, isSandwich: false),
    ]

    @Test(.enabled(if: compiler != nil, "needs NVRTC"), arguments: models)
    func compile(model: Model) throws {
        let compiler = try #require(Self.compiler)
        let spec = try model.spec()
        let (h, g) = (model.queryHeads, model.keyHeads)
        let projections: [LayerVariant.Projection?] = [
            .init(queryHeads: h, keyHeads: g, heads: h + 2 * g), .init(queryHeads: 0, keyHeads: g, heads: 2 * g), nil,
        ]
        for projection in projections {
            let variant = try #require(LayerVariant(spec, projection: projection))
            let compiled = try compiler.compile(LayerVariant.path, constants: variant.constants, for: Architecture("sm_90a"))
            let kernel = try #require(compiled.figures.first { $0.name == variant.entry })
            #expect(!kernel.spills, "\(variant): \(kernel)")
            #expect(compiled.warnings.isEmpty)
            #expect(variant.sharedByteCount <= 232_448)
        }
    }

    /// Fused by default is what has been verified on a GPU, and nothing else.
    @Test func otherShapesAreNotFusedByThemselves() throws {
        for model in Self.models {
            let spec = try model.spec()
            #expect(PrefillFusion.preferred(for: spec, precision: .bfloat16) == .full, "\(model)")
            #expect(PrefillFusion.preferred(for: spec, precision: .float8) == (model.head >= 128 ? .heads : .none), "\(model)")
        }
        var spec = try Self.models[2].spec()
        spec.keyValueHeads = 1
        spec.queryHeads = 3
        #expect(PrefillFusion.preferred(for: spec, precision: .float8) == .none, "heads end inside a tile")
        #expect(PrefillFusion.preferred(for: spec, precision: .bfloat16) == .full)
        spec.hiddenSize = 100
        #expect(PrefillFusion.preferred(for: spec, precision: .bfloat16) == .none, "rows end inside a tile")
    }

    @Test func tilesDivideTheResidualStream() {
        #expect(LayerVariant.tile(columns: 640) == 160 && LayerVariant.parts(columns: 640) == 4)
        #expect(LayerVariant.tile(columns: 768) == 128 && LayerVariant.parts(columns: 768) == 6)
        #expect(LayerVariant.tile(columns: 192) == 96 && LayerVariant.parts(columns: 192) == 2)
        for columns in stride(from: 64, through: 5376, by: 64) {
            let tile = LayerVariant.tile(columns: columns)
            #expect(columns % tile == 0 && tile % 32 == 0)
        }
    }

    @Test func refusesWhatItDoesNotCompute() throws {
        var spec = try Self.models[0].spec()
        #expect(LayerVariant.supports(spec))
        spec.intermediateSize = 2000
        #expect(!LayerVariant.supports(spec) && LayerVariant(spec, projection: nil) == nil)
        spec = try Self.models[0].spec()
        spec.activation = .geluErf
        #expect(!LayerVariant.supports(spec))
    }

    /// The kernel writes gated rows and the next layer's heads while others still read what attention left.
    @Test func nothingOverlapsWhileLayersRun() throws {
        for model in Self.models {
            let (spec, rows) = (try model.spec(), 37)
            let place = PassSpace.Placement(spec, rows: rows, residual: .halves)
            let parts: [(start: Int, columns: Int)] = [
                (place.x, spec.hiddenSize), (place.rest, spec.hiddenSize),
                (place.queryKeyValue, (model.queryHeads + 2 * model.keyHeads) * model.head),
                (place.attended, model.queryHeads * model.head), (place.gated, spec.intermediateSize),
            ]
            let ranges = parts.map { $0.start..<$0.start + 2 * rows * $0.columns }.sorted { $0.lowerBound < $1.lowerBound }
            for (range, next) in zip(ranges, ranges.dropFirst()) { #expect(range.upperBound <= next.lowerBound) }
            #expect((ranges.last?.upperBound ?? .max) <= place.byteCount)
        }
    }
}
