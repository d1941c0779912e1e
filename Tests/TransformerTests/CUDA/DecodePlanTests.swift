import CUDA
import Foundation
import Testing
import Transformer

/// How the megakernel's work is shared out, and that it compiles for the models it is made for.
@Suite struct DecodePlanTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let spec: TransformerSpec
        let groups: Int
        let members: Int
        let slots: Int
        let hasPairs: Bool
        var testDescription: String { name }
    }

    static func spec(
        _ hidden: Int, _ intermediate: Int, heads: (Int, Int, Int), layers: Int, vocabulary: Int, isGemma: Bool = false
    ) -> TransformerSpec {
        let long = TransformerSpec.LayerSpec(window: nil, rope: .init(base: 1_000_000))
        let short = TransformerSpec.LayerSpec(window: 512, rope: .init(base: 10_000))
        return TransformerSpec(
            vocabularySize: vocabulary, hiddenSize: hidden, intermediateSize: intermediate, queryHeads: heads.0, keyValueHeads: heads.1,
            headDimension: heads.2, layers: (0..<layers).map { isGemma && ($0 + 1) % 6 != 0 ? short : long },
            normPlacement: isGemma ? .sandwich : .pre, normWeightOffset: isGemma ? 1 : 0, normEpsilon: 1e-6, hasQueryKeyNorm: true,
            activation: isGemma ? .geluTanh : .silu, attentionScale: 0.0625, embeddingScale: nil, isBidirectional: false, hasTiedHead: true,
            maximumPositions: 40_960)
    }

    static let cases = [
        Case(
            name: "Qwen3-0.6B", spec: spec(1024, 3072, heads: (16, 8, 128), layers: 28, vocabulary: 151_936), groups: 8, members: 16, slots: 9,
            hasPairs: true),
        Case(
            name: "Qwen3-1.7B", spec: spec(2048, 6144, heads: (16, 8, 128), layers: 28, vocabulary: 151_936), groups: 8, members: 16, slots: 12,
            hasPairs: false),
        Case(
            name: "Qwen3-4B", spec: spec(2560, 9728, heads: (32, 8, 128), layers: 36, vocabulary: 151_936), groups: 8, members: 16, slots: 11,
            hasPairs: false),
        // Four groups share the one key head. Chunks of 8 KB leave less of a small layer's empty.
        Case(
            name: "Gemma3-270m", spec: spec(640, 2048, heads: (4, 1, 256), layers: 18, vocabulary: 262_144, isGemma: true), groups: 4, members: 32,
            slots: 24, hasPairs: false),
        Case(
            name: "Gemma3-1B", spec: spec(1152, 6912, heads: (4, 1, 256), layers: 26, vocabulary: 262_144, isGemma: true), groups: 4, members: 32,
            slots: 12, hasPairs: false),
        // More blocks would have no less to read: of a fragment's 16 rows twelve are there.
        Case(
            name: "bundled", spec: spec(192, 384, heads: (4, 2, 64), layers: 6, vocabulary: 2048), groups: 2, members: 16, slots: 11,
            hasPairs: true),
    ]

    @Test(arguments: cases) func sharesOut(_ one: Case) throws {
        let plan = try DecodePlan(one.spec, multiprocessors: 132, sharedByteLimit: 232_448, hasRing: true)
        #expect(plan.groups == one.groups && plan.members == one.members)
        #expect(plan.blocks == one.members * one.groups)
        #expect(try plan.constants.header().contains("DECODE_GROUPS") == (one.groups != one.spec.keyValueHeads))
        #expect(plan.ringSlots == one.slots, "\(plan.ringSlots) slots")
        // Small layers, and rows of 256 bytes at most.
        #expect(plan.hasPairs == one.hasPairs && plan.isStaged == one.hasPairs)
        #expect(plan.unsharedPositions == (one.hasPairs ? 64 : 128) && plan.pairedPositions == (one.hasPairs ? 256 : 128))
        let single = try DecodePlan(one.spec, multiprocessors: 132, sharedByteLimit: 232_448, hasRing: true, pairs: false)
        #expect(!single.hasPairs && !single.isStaged && single.unsharedPositions == 128)
        #expect(try !single.constants.header().contains("DECODE_CLUSTER") && !single.constants.header().contains("DECODE_STAGE"))
        let generic = try DecodePlan(one.spec, multiprocessors: 132, sharedByteLimit: 101_376, hasRing: false)
        #expect(generic.ringSlots == 0 && !generic.hasPairs && !generic.isStaged)
        #expect(generic.blocks == plan.blocks)
    }

    /// Chunks of codes are as large as those of bf16, or half as large where that leaves less of them empty.
    @Test(arguments: cases) func codesHaveChunksOfTheirOwn(_ one: Case) throws {
        let plan = try DecodePlan(one.spec, multiprocessors: 132, sharedByteLimit: 232_448, hasRing: true)
        let codes = try DecodePlan(one.spec, multiprocessors: 132, sharedByteLimit: 232_448, hasRing: true, format: .float8)
        #expect([8192, 16_384].contains(plan.chunkByteCount) && plan.format == .bfloat16)
        #expect(try plan.constants.header().contains("#define DECODE_CHUNK \(plan.chunkByteCount / 4096)\n"))
        #expect([8192, 16_384].contains(codes.chunkByteCount) && codes.format == .float8)
        #expect(codes.blocks == plan.blocks)
        #expect(codes.ringSlots * codes.chunkByteCount <= 196_608 && codes.ringSlots * codes.chunkByteCount > 98_304)
        let header = try codes.constants.header()
        #expect(header.contains("#define DECODE_WEIGHTS 8\n"))
        #expect(header.contains("#define DECODE_CHUNK \(codes.chunkByteCount / 2048)\n"))
    }

    /// What the positions keep takes the ring's place; where it leaves too little of it there is no such form.
    @Test func positionsTakeSharedMemory() throws {
        func plan(_ index: Int, _ positions: Int) throws -> DecodePlan {
            try DecodePlan(Self.cases[index].spec, multiprocessors: 132, sharedByteLimit: 232_448, hasRing: true, positions: positions)
        }
        #expect(try plan(0, 1).constants.header().contains("DECODE_POSITIONS") == false)
        let two = try plan(0, 2)
        let four = try plan(0, 4)
        #expect(try two.constants.header().contains("#define DECODE_POSITIONS 2\n") && two.ringSlots >= 9)
        #expect(four.ringSlots >= 6 && four.ringSlots < two.ringSlots)
        // No more on its way than there are slots.
        #expect(try four.constants.header().contains("#define DECODE_HEAD_FLIGHT \(min(8, four.ringSlots))\n"))
        #expect(throws: TransformerError.self) { try plan(2, 4) }
        #expect(try plan(2, 2).ringSlots >= 4 && plan(3, 4).ringSlots >= 4)
    }

    @Test func usesWhatTheGPUHas() throws {
        let spec = Self.cases[0].spec
        // An RTX 3090 has 82: ten a group, of which eight share 128 packets evenly.
        #expect(try DecodePlan(spec, multiprocessors: 82, sharedByteLimit: 101_376, hasRing: false).members == 8)
        #expect(throws: TransformerError.self) { try DecodePlan(spec, multiprocessors: 7, sharedByteLimit: 101_376, hasRing: false) }
        #expect(throws: TransformerError.self) { try DecodePlan(spec, multiprocessors: 132, sharedByteLimit: 60_000, hasRing: true) }
        #expect(throws: TransformerError.self) { try DecodePlan(spec, multiprocessors: 132, sharedByteLimit: 10_000, hasRing: false) }
    }

    @Test func namesObstacles() {
        var spec = Self.cases[0].spec
        #expect(DecodePlan.obstacle(spec) == nil)
        spec.keyValueHeads = 2
        #expect(DecodePlan.obstacle(spec)?.contains("4 to one") == true)
        spec = Self.cases[0].spec
        spec.headDimension = 96
        #expect(DecodePlan.obstacle(spec)?.contains("96") == true)
        // 48 columns a warp would belong to two heads.
        spec = Self.cases[0].spec
        (spec.queryHeads, spec.keyValueHeads) = (24, 8)
        #expect(DecodePlan.obstacle(spec)?.contains("3 query heads") == true)
        spec.headDimension = 64
        #expect(DecodePlan.obstacle(spec) == nil)
        spec = Self.cases[0].spec
        spec.isBidirectional = true
        #expect(DecodePlan.obstacle(spec) != nil)
    }

    @Test func ropesAreDistinct() throws {
        let plan = try DecodePlan(Self.cases[3].spec, multiprocessors: 132, sharedByteLimit: 232_448, hasRing: true)
        #expect(plan.ropes.map(\.base) == [10_000, 1_000_000])
        let frequencies = DecodePlan.frequencies(plan.ropes, headDimension: 256)
        #expect(frequencies.count == 256)
        #expect(frequencies[0] == 1 && frequencies[128] == 1)
        #expect(abs(frequencies[129] - pow(1_000_000, -2.0 / 256)) < 1e-6)
        #expect(DecodePlan.frequencies([plan.ropes[0]], headDimension: 256)[128...].allSatisfy { $0 == 0 })
    }

    @Test func argumentsHaveTheKernelsLayout() {
        #expect(MemoryLayout<DecodeArguments>.stride == 232)
        #expect(MemoryLayout<DecodeArguments>.offset(of: \.logitStride) == 120)
        #expect(MemoryLayout<DecodeArguments>.offset(of: \.embeddingScale) == 156)
        #expect(MemoryLayout<DecodeArguments>.offset(of: \.stops) == 168)
        #expect(MemoryLayout<PackArguments>.stride == 48)
        #expect(MemoryLayout<DecodeLayerInfo>.stride == 8)
        var arguments = DecodeArguments()
        arguments.setStops(Array(1...20))
        #expect(arguments.stopCount == 16)
        #expect(arguments.stops.0 == 1 | 2 << 32 && arguments.stops.7 == 15 | 16 << 32)
    }

    @Test func drawsAreThoseThatTheKernelHas() throws {
        #expect(MemoryLayout<DecodeSampling>.stride == 56)
        #expect(MemoryLayout<DecodeSampling>.offset(of: \.leftOut) == 32)
        func sampling(_ change: (inout DeviceDraw) -> Void) -> DecodeSampling? {
            var draw = DeviceDraw { _ in 0 }
            change(&draw)
            return DecodeSampling(draw, vocabularySize: 1000, largestK: 64)
        }
        let everything = try #require(sampling { _ in })
        #expect(everything.draw == DecodeSampling.Draw.everything.rawValue && everything.leftOut == 0)
        let candidates = try #require(sampling { ($0.topK, $0.topP) = (64, 0.75) })
        #expect(candidates.draw == DecodeSampling.Draw.candidates.rawValue)
        #expect(candidates.kept == 64 && candidates.isWhole == 0 && candidates.leftOut == 0.25)
        let whole = try #require(sampling { ($0.topK, $0.minP) = (1000, 0.1) })
        #expect(whole.kept == 64 && whole.isWhole == 1 && whole.leftOut == 0)
        #expect(sampling { $0.topK = 65 } == nil)
        #expect(sampling { ($0.temperature, $0.topK) = (0, 65) }?.draw == DecodeSampling.Draw.likeliest.rawValue)
    }

    @Test func aCacheOfCodesIsAConstantOfItsOwn() throws {
        let spec = Self.cases[0].spec
        func text(_ cacheFormat: KeyValueCacheFormat) throws -> String {
            try DecodePlan(spec, multiprocessors: 132, sharedByteLimit: 232_448, hasRing: true, cacheFormat: cacheFormat).constants.header()
        }
        #expect(try !text(.bfloat16).contains("DECODE_CACHE"))
        #expect(try text(.float8).contains("#define DECODE_CACHE 8\n"))
        func rows(_ head: Int, _ format: KeyValueCacheFormat, slots: Int = 8) -> Int {
            var spec = spec
            spec.headDimension = head
            return DecodePlan.boxRows(spec, cacheFormat: format, ringSlots: slots, chunkByteCount: 16_384)
        }
        #expect(rows(64, .bfloat16) == 32 && rows(128, .bfloat16) == 32 && rows(256, .bfloat16) == 32)
        #expect(rows(64, .float8) == 0 && rows(128, .float8) == 32 && rows(256, .float8) == 32)
        #expect(rows(128, .float8, slots: 0) == 0)
    }

    @Test func faultsNameThePlace() {
        let fault = DecodeFault(4 | 12 << 8 | 77 << 16)
        #expect(fault.description == "the decode kernel gave up: block 77 waited for attended rows in layer 12")
    }

    private static let compiler = try? Compiler(environment: Environment(variables))
    private static let variables = ProcessInfo.processInfo.environment.filter { ["APUS_NVRTC", "CUDA_HOME", "CUDA_PATH"].contains($0.key) }

    /// The kernel asserts that the sizes that the host assumes are its own.
    @Test(.enabled(if: compiler != nil, "needs NVRTC: name libnvrtc in APUS_NVRTC"), arguments: cases)
    func compiles(_ one: Case) throws {
        let compiler = try #require(Self.compiler)
        for (name, limit) in [("sm_90a", 232_448), ("sm_80", 166_912)] {
            func plan(
                _ format: DecodeWeightFormat, _ cacheFormat: KeyValueCacheFormat = .bfloat16, samples: Bool, positions: Int = 1
            ) throws -> KernelConstants {
                try DecodePlan(
                    one.spec, multiprocessors: 132, sharedByteLimit: limit, hasRing: name == "sm_90a", format: format,
                    cacheFormat: cacheFormat, samples: samples, positions: positions
                ).constants
            }
            let isShort = ["Qwen3-0.6B", "Gemma3-270m"].contains(one.name)
            for format in isShort ? [DecodeWeightFormat.bfloat16, .float8] : [.bfloat16] {
                // Four positions of the largest shapes do not fit: the plan says so.
                let wide = isShort || one.name == "bundled" ? [2, 4] : []
                let guessing = wide.compactMap { positions in
                    (try? plan(format, samples: false, positions: positions)).map { (DecodePlan.kernelPath, $0) }
                }
                // Of a cache of codes a few forms, in the room that the others take.
                let coded = format == .float8 ? [] : one.name == "Qwen3-0.6B" ? (name == "sm_90a" ? [1, 4] : [1]) : one.name == "bundled" ? [1] : []
                let codedForms = try coded.map { (DecodePlan.kernelPath, try plan(format, .float8, samples: false, positions: $0)) }
                let forms =
                    try guessing + codedForms + [
                        (DecodePlan.kernelPath, plan(format, samples: false)), (DecodePlan.packPath, plan(format, samples: false)),
                        (DecodePlan.kernelPath, plan(format, samples: true)),
                    ]
                for (path, constants) in forms {
                    let kernels = try compiler.compile(path, constants: constants, for: Architecture(name))
                    #expect(kernels.warnings.isEmpty, "\(kernels.warnings)")
                    #expect(!kernels.figures.isEmpty)
                }
            }
        }
    }
}
