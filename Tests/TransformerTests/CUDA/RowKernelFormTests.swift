import CUDA
import Foundation
import Operators
import Tensors
import Testing
import Transformer

/// The forms of the row kernels that an executor asks for compile, where NVRTC is there.
@Suite struct RowKernelFormTests {
    private static let variables = ProcessInfo.processInfo.environment.filter { ["APUS_NVRTC", "CUDA_HOME", "CUDA_PATH"].contains($0.key) }
    private static let compiler = try? Compiler(environment: Environment(variables))

    private static let kinds: [RowsVariant.Kind] = [
        .embed, .take, .residual(isSandwich: true, hasNext: true), .residual(isSandwich: false, hasNext: true),
        .residual(isSandwich: true, hasNext: false), .residualCodes(isSandwich: true), .residualCodes(isSandwich: false),
        .pool(.lastToken), .pool(.mean), .pool(.firstToken), .normalize, .cache,
    ]

    @Test(.enabled(if: compiler != nil, "needs NVRTC"), arguments: [192, 256, 640, 768, 1024, 2560, 5376])
    func compile(columns: Int) throws {
        let compiler = try #require(Self.compiler)
        var spec = try GoldenModel("gemma3-encoder").spec
        spec.hiddenSize = columns
        for kind in Self.kinds {
            let variant = RowsVariant(kind, spec, residual: .whole)
            let compiled = try compiler.compile(RowsVariant.path, constants: variant.constants, for: Architecture("sm_90a"))
            let kernel = compiled.figures.first { $0.name == variant.entry }
            #expect(kernel != nil && kernel?.spills == false, "\(variant)")
        }
    }

    @Test func aRowIsHeldInSixPiecesALane() throws {
        var spec = try GoldenModel("gemma3-encoder").spec
        for columns in stride(from: 8, through: RowsVariant.maximumColumns, by: 8) {
            spec.hiddenSize = columns
            let variant = RowsVariant(.embed, spec, residual: .whole)
            #expect(columns / 8 <= 6 * variant.lanes)
            #expect(variant.threadCount % variant.lanes == 0 && variant.threadCount >= 64)
            #expect(variant.lanes <= 32 || variant.rowsPerBlock == 1)
        }
    }
}
