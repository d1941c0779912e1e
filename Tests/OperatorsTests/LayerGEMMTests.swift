import CUDA
import Foundation
import Operators
import Testing

/// The forms of layers' products that executors ask for compile, where NVRTC is there.
@Suite struct LayerGEMMTests {
    private static let variables = ProcessInfo.processInfo.environment.filter { ["APUS_NVRTC", "CUDA_HOME", "CUDA_PATH"].contains($0.key) }
    private static let compiler = try? Compiler(environment: Environment(variables))

    private static let forms: [(LayerEpilogue, LayerOperands, columns: Int)] = [
        (.heads(size: 256, query: 4, key: 1), .bfloat16(sumParts: 0), 1536), (.heads(size: 256, query: 4, key: 1), .bfloat16(sumParts: 4), 1536),
        (.heads(size: 256, query: 0, key: 1), .bfloat16(sumParts: 4), 512), (.heads(size: 256, query: 4, key: 0), .bfloat16(sumParts: 4), 1024),
        (.heads(size: 128, query: 16, key: 8), .bfloat16(sumParts: 0), 4096), (.heads(size: 64, query: 2, key: 1), .bfloat16(sumParts: 2), 256),
        (.plain, .codes(hasColumnScales: true), 1536), (.plain, .codes(hasColumnScales: false), 1536), (.plain, .codes(hasColumnScales: true), 640),
        (.plain, .codes(hasColumnScales: true), 768), (.plain, .codes(hasColumnScales: true), 4096), (.plain, .codes(hasColumnScales: false), 1280),
        (.plain, .codes(hasColumnScales: true), 1024), (.heads(size: 256, query: 4, key: 1), .codes(hasColumnScales: false), 1536),
        (.heads(size: 128, query: 16, key: 8), .codes(hasColumnScales: false), 4096),
        (.heads(size: 64, query: 2, key: 1), .codes(hasColumnScales: false), 256), (.gated(.geluTanh), .codes(hasColumnScales: false), 4096),
        (.gated(.silu), .codes(hasColumnScales: false), 6144), (.gated(.geluTanh), .codes(hasColumnScales: false), 2304),
    ]

    @Test(.enabled(if: compiler != nil, "needs NVRTC"), arguments: forms.indices) func compile(index: Int) throws {
        let compiler = try #require(Self.compiler)
        let (epilogue, operands, columns) = Self.forms[index]
        let variant = LayerGEMMVariant(epilogue, operands, columns: columns)
        let compiled = try compiler.compile(LayerGEMMVariant.path, constants: variant.constants, for: Architecture("sm_90a"))
        let kernel = try #require(compiled.figures.first { $0.name == variant.entry })
        #expect(!kernel.spills, "\(variant): \(kernel)")
        #expect(compiled.warnings.isEmpty)
        #expect(variant.sharedByteCount <= 232_448)
    }
}
