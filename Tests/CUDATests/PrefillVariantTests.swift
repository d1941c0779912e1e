import CUDA
import Testing

/// The variants of the kernels that a prefill pass is made of, as docs/prefill.md names them: registers are tight in all of them.
@Suite("Kernels of a prefill pass")
struct PrefillVariantTests {
    struct Variant: Sendable, CustomTestStringConvertible {
        let path: String
        let constants: [String: Int]
        var testDescription: String { "\(path) \(constants.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " "))" }

        static func product(_ constants: [String: Int]...) -> Variant {
            Variant(path: "Operators/GemmHopper.cu", constants: constants.reduce(into: [:]) { $0.merge($1) { $1 } })
        }
        static func rows(_ constants: [String: Int]) -> Variant { Variant(path: "Prefill/Rows.cu", constants: constants) }
    }

    private static let pingPong = ["GEMM_PINGPONG": 1]
    private static let foldedNorm = ["GEMM_ROW_SCALE": 3, "GEMM_SCALE_PARTS": 4]
    private static let heads256 = [
        "GEMM_TILE_M": 64, "GEMM_TILE_N": 256, "GEMM_STAGES": 4, "GEMM_STAGING": 2, "GEMM_HEAD": 256, "GEMM_QUERY_HEADS": 4, "GEMM_KEY_HEADS": 1,
    ]
    private static let gated = [
        "GEMM_TILE_N": 192, "GEMM_STAGES": 4, "GEMM_STAGING": 6, "GEMM_GROUP": 4, "GEMM_GATED": 1, "GEMM_EARLY": 1,
    ]

    static let variants: [Variant] = [
        .product(pingPong, heads256),
        .product(pingPong, heads256, foldedNorm, ["GEMM_EARLY": 1]),
        .product(pingPong, heads256, foldedNorm, ["GEMM_CLUSTER_M": 2]),
        .product(
            pingPong, foldedNorm,
            ["GEMM_TILE_N": 128, "GEMM_STAGES": 5, "GEMM_HEAD": 128, "GEMM_QUERY_HEADS": 16, "GEMM_KEY_HEADS": 8]),
        .product(pingPong, gated, foldedNorm, ["GEMM_ACTIVATION": 2]),
        .product(pingPong, gated, foldedNorm, ["GEMM_ACTIVATION": 1, "GEMM_STAGING": 3]),
        .product(
            pingPong, ["GEMM_TILE_N": 160, "GEMM_STAGES": 5, "GEMM_STAGING": 5, "GEMM_GROUP": 1, "GEMM_RESIDUAL": 1, "GEMM_STATISTICS": 1]),
        .rows(["ROWS_SANDWICH": 1, "ROWS_UNIT_OFFSET": 1, "ROWS_NEXT": 2, "ROWS_SPLIT": 1, "ROWS_POOL": 1]),
        .rows(["ROWS_SANDWICH": 1, "ROWS_UNIT_OFFSET": 1, "ROWS_POOL": 1]),
        .rows(["ROWS_SANDWICH": 1, "ROWS_UNIT_OFFSET": 1, "ROWS_NEXT": 2]),
        .rows(["ROWS_SANDWICH": 1, "ROWS_RESIDUAL": 2, "ROWS_WEIGHT": 2, "ROWS_TABLE": 0]),
        .rows(["ROWS_COLUMNS": 1024, "ROWS_LANES": 32, "ROWS_RESIDUAL": 2, "ROWS_POOL": 1]),
        .rows(["ROWS_COLUMNS": 5376, "ROWS_LANES": 128, "ROWS_RESIDUAL": 2, "ROWS_SANDWICH": 1, "ROWS_POOL": 1]),
    ]

    @Test("compile without a warning or a spill", .enabled(if: CompilerFixture.isAvailable, CompilerFixture.reason), arguments: variants)
    func compiles(variant: Variant) throws {
        try CompilerFixture.withFolder { cache in
            var constants = KernelConstants()
            for (name, value) in variant.constants { constants.define(name, value) }
            let request = KernelRequest(try KernelLibrary.embedded.source(variant.path), constants: constants)
            let kernels = try CompilerFixture.compiler(cache: cache).compile(request, for: Architecture("sm_90a"))
            #expect(kernels.warnings.isEmpty, "\(kernels.warnings.joined(separator: "\n"))")
            #expect(!kernels.figures.isEmpty)
            for figures in kernels.figures { #expect(!figures.spills, "\(figures)") }
        }
    }

    /// A head must lie whole in one product's columns, or a thread would rotate halves of different heads.
    @Test("a head across two tiles is refused", .enabled(if: CompilerFixture.isAvailable, CompilerFixture.reason))
    func refusesSplitHeads() throws {
        try CompilerFixture.withFolder { cache in
            var constants = KernelConstants()
            for (name, value) in ["GEMM_TILE_N": 192, "GEMM_HEAD": 256, "GEMM_QUERY_HEADS": 4, "GEMM_KEY_HEADS": 1] { constants.define(name, value) }
            let request = KernelRequest(try KernelLibrary.embedded.source("Operators/GemmHopper.cu"), constants: constants)
            let compiler = try CompilerFixture.compiler(cache: cache)
            #expect(throws: CUDAError.self) { try compiler.compile(request, for: Architecture("sm_90a")) }
        }
    }
}
