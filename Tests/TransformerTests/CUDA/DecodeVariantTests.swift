import CUDA
import Foundation
import Testing
import Transformer

/// The forms of the megakernel that its techniques are measured by, and the graph of kernels beside it.
@Suite struct DecodeVariantTests {
    private static let compiler = try? Compiler(environment: Environment(variables))
    private static let variables = ProcessInfo.processInfo.environment.filter { ["APUS_NVRTC", "CUDA_HOME", "CUDA_PATH"].contains($0.key) }
    private static let spec = DecodePlanTests.cases[0].spec

    private static func constants(_ variant: DecodeVariant?) throws -> KernelConstants {
        try DecodePlan(
            spec, multiprocessors: 132, sharedByteLimit: 232_448, hasRing: variant?.hasRing ?? true, variant: variant
        ).constants
    }

    /// A constant that the kernel no longer asks for would change nothing, and the table would say that its technique is worth nothing.
    @Test func theKernelAsksForTheirConstants() throws {
        let text = try KernelLibrary.embeddedPaths.filter { $0.hasPrefix("Decode/") }.map { try #require(KernelLibrary.embedded.text($0)) }.joined()
        let names = Set(DecodeVariant.ablations.flatMap(\.constantNames))
        #expect(names.count > 8)
        for name in names { #expect(text.contains("#ifndef \(name)\n") || text.contains("#ifndef \(name) "), "\(name)") }
        #expect(Set(DecodeVariant.ablations.map(\.name)).count == DecodeVariant.ablations.count)
    }

    @Test(.enabled(if: compiler != nil, "needs NVRTC: name libnvrtc in APUS_NVRTC"))
    func everyVariantIsAnotherProgram() throws {
        let compiler = try #require(Self.compiler)
        func image(_ variant: DecodeVariant?) throws -> [UInt8] {
            try compiler.compile(DecodePlan.kernelPath, constants: Self.constants(variant), for: Architecture("sm_90a")).cubin
        }
        let own = try image(nil)
        for variant in DecodeVariant.ablations {
            // Where attention is shared out is an argument, not a constant.
            let isSame = try image(variant) == own
            #expect(isSame == (variant.unsharedPositions != nil), "\(variant.name)")
        }
    }

    /// Chunks of 8 KB, and a ring that holds fewer of them than are on their way elsewhere. What the kernel asserts of its sizes is compiled without
    /// the kernel, which would take minutes.
    @Test(.enabled(if: compiler != nil, "needs NVRTC: name libnvrtc in APUS_NVRTC"))
    func aShortRingOfSmallChunksCompiles() throws {
        let spec = DecodePlanTests.spec(672, 4928, heads: (8, 4, 256), layers: 23, vocabulary: 262_144)
        let plan = try DecodePlan(spec, multiprocessors: 132, sharedByteLimit: 232_448, hasRing: true, format: .float8, positions: 4)
        #expect(plan.chunkByteCount == 8192 && plan.ringSlots < 8)
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("apus-kernels-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        var texts = ["Decode/Sizes.cu": "#include \"Decode/Attention.cuh\"\nextern \"C\" __global__ void sizes() {}\n"]
        for path in KernelLibrary.embeddedPaths { texts[path] = KernelLibrary.embedded.text(path) }
        for (path, text) in texts {
            let file = folder.appendingPathComponent(path)
            try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        let compiler = try Compiler(environment: Environment(Self.variables.merging(["APUS_KERNELS": folder.path]) { $1 }))
        _ = try compiler.compile("Decode/Sizes.cu", constants: plan.constants, for: Architecture("sm_90a"))
    }

    @Test(.enabled(if: compiler != nil, "needs NVRTC: name libnvrtc in APUS_NVRTC"))
    func theGraphsKernelsCompile() throws {
        let compiler = try #require(Self.compiler)
        let plan = try DecodePlan(Self.spec, multiprocessors: 132, sharedByteLimit: 232_448, hasRing: true)
        let kernels = try compiler.compile(DecodeGraph.kernelPath, constants: plan.constants, for: Architecture("sm_90a"))
        #expect(kernels.figures.count == 7 && kernels.warnings.isEmpty)
        for kernel in kernels.figures { #expect(!kernel.spills, "\(kernel)") }
    }

    @Test func theGraphTakesWhatItComputes() {
        #expect(MemoryLayout<DecodeGraphArguments>.stride == 80)
        #expect(MemoryLayout<DecodeGraphState>.stride == 24)
        func obstacle(_ spec: TransformerSpec, _ format: DecodeWeightFormat = .bfloat16, major: Int = 9) -> String? {
            DecodeGraph.obstacle(spec, format: format, major: major)
        }
        #expect(obstacle(Self.spec) == nil)
        #expect(obstacle(Self.spec, .float8)?.contains("bf16") == true)
        #expect(DecodeGraph.obstacle(Self.spec, format: .bfloat16, cacheFormat: .float8, major: 9)?.contains("cache") == true)
        #expect(obstacle(Self.spec, major: 8)?.contains("9.0") == true)
        for one in DecodePlanTests.cases.dropFirst() { #expect(obstacle(one.spec) != nil, "\(one.name)") }
        #expect(obstacle(DecodePlanTests.cases[1].spec)?.contains("too large") == true)
    }
}
