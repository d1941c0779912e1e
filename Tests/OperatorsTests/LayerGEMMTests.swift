import CUDA
import Foundation
import Operators
import Testing

/// The forms of layers' products that executors ask for compile, where NVRTC is there.
@Suite struct LayerGEMMTests {
    private static let variables = ProcessInfo.processInfo.environment.filter { ["APUS_NVRTC", "CUDA_HOME", "CUDA_PATH"].contains($0.key) }
    private static let compiler = try? Compiler(environment: Environment(variables))

    private static let forms: [(LayerEpilogue, columns: Int, parts: Int)] = [
        (.heads(size: 256, query: 4, key: 1), 1536, 0), (.heads(size: 256, query: 4, key: 1), 1536, 4),
        (.heads(size: 256, query: 0, key: 1), 512, 4), (.heads(size: 256, query: 4, key: 0), 1024, 4),
        (.heads(size: 128, query: 16, key: 8), 4096, 0), (.heads(size: 64, query: 2, key: 1), 256, 2),
        (.gated(.geluTanh), 4096, 4), (.gated(.silu), 6144, 4), (.postNorm, 640, 0), (.postNorm, 768, 0), (.residual, 1024, 0), (.residual, 768, 0),
    ]

    @Test(.enabled(if: compiler != nil, "needs NVRTC"), arguments: forms.indices) func compile(index: Int) throws {
        let compiler = try #require(Self.compiler)
        let (epilogue, columns, parts) = Self.forms[index]
        let variant = LayerGEMMVariant(epilogue, scaleParts: parts, columns: columns)
        let compiled = try compiler.compile(LayerGEMMVariant.path, constants: variant.constants, for: Architecture("sm_90a"))
        let kernel = try #require(compiled.figures.first { $0.name == variant.entry })
        #expect(!kernel.spills, "\(variant): \(kernel)")
        #expect(compiled.warnings.isEmpty)
        #expect(variant.sharedByteCount <= 232_448)
    }

    @Test func sumsHaveAPartForEachTile() {
        #expect(LayerGEMMVariant.parts(.postNorm, columns: 640) == 4)
        #expect(LayerGEMMVariant.parts(.postNorm, columns: 768) == 6)
        #expect(LayerGEMMVariant.parts(.residual, columns: 1024) == 4)
        #expect(LayerGEMMVariant.parts(.postNorm, columns: 1152) == 9)
    }
}
