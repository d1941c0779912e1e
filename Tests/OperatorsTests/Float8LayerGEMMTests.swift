import CUDA
import Foundation
import Operators
import Testing

/// The forms of products of codes that executors ask for compile, where NVRTC is there.
@Suite struct Float8LayerGEMMTests {
    private static let variables = ProcessInfo.processInfo.environment.filter { ["APUS_NVRTC", "CUDA_HOME", "CUDA_PATH"].contains($0.key) }
    private static let compiler = try? Compiler(environment: Environment(variables))

    private static let forms: [(Float8LayerEpilogue, hasColumnScales: Bool, columns: Int)] = [
        (.plain, true, 1536), (.plain, false, 1536), (.plain, true, 640), (.plain, true, 768), (.plain, true, 4096), (.plain, false, 1280),
        (.plain, true, 1024), (.heads(size: 256, query: 4, key: 1), false, 1536), (.heads(size: 128, query: 16, key: 8), false, 4096),
        (.heads(size: 64, query: 2, key: 1), false, 256), (.gated(.geluTanh), false, 4096), (.gated(.silu), false, 6144),
        (.gated(.geluTanh), false, 2304),
    ]

    @Test(.enabled(if: compiler != nil, "needs NVRTC"), arguments: forms.indices) func compile(index: Int) throws {
        let compiler = try #require(Self.compiler)
        let (epilogue, hasColumnScales, columns) = Self.forms[index]
        let variant = Float8LayerVariant(epilogue, hasColumnScales: hasColumnScales, columns: columns)
        let compiled = try compiler.compile(Float8LayerVariant.path, constants: variant.constants, for: Architecture("sm_90a"))
        let kernel = try #require(compiled.figures.first { $0.name == variant.entry })
        #expect(!kernel.spills, "\(variant): \(kernel)")
        #expect(compiled.warnings.isEmpty)
        #expect(variant.sharedByteCount <= 232_448)
    }
}
