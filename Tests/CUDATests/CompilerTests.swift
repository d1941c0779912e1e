import CUDA
import Foundation
import Testing

@Suite("Compiler: NVRTC to machine code, kept on disk", .enabled(if: CompilerFixture.isAvailable, CompilerFixture.reason))
struct CompilerTests {
    private static let hopper = Architecture(ComputeCapability(9, 0))

    @Test("every architecture gives machine code", arguments: ["sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"])
    func architectures(name: String) throws {
        try CompilerFixture.withFolder { folder in
            let compiler = try CompilerFixture.compiler(cache: folder)
            let kernels = try compiler.compile(CompilerFixture.scale(), for: Architecture(name))
            #expect(kernels.cubin.starts(with: [0x7F, 0x45, 0x4C, 0x46]))
            #expect(kernels.architecture == name)
            #expect(kernels.figures.map(\.name) == ["scale"])
            #expect((kernels.figures.first?.registerCount ?? 0) > 0)
        }
    }

    @Test("the second compilation reads the first one's entry, byte for byte")
    func cache() throws {
        try CompilerFixture.withFolder { folder in
            let compiler = try CompilerFixture.compiler(cache: "\(folder)/a/b")
            let request = CompilerFixture.scale()
            #expect(try compiler.isCached(request, for: Self.hopper) == false)
            let first = try compiler.compile(request, for: Self.hopper)
            #expect(try compiler.isCached(request, for: Self.hopper))
            #expect(try CompilerFixture.compiler(cache: "\(folder)/a/b").compile(request, for: Self.hopper) == first)
            #expect(try CompilerFixture.entries("\(folder)/a/b").count == 1)
            #expect(compiler.cache.note == nil)
            let listing = try #require(compiler.cache.list().first)
            #expect(listing.name == "Test/Scale.cu" && listing.architecture == "sm_90a")
            #expect(listing.compiler == "NVRTC \(compiler.nvrtc.version)" && listing.figures == first.figures)
            compiler.cache.clear()
            #expect(try CompilerFixture.entries("\(folder)/a/b").isEmpty)
        }
    }

    @Test("threads that ask for one kernel at once wait for one compilation, whether it is kept or not")
    func threads() async throws {
        try await CompilerFixture.withFolder { folder in
            for cache in [folder, "/dev/null/none"] {  // the second cannot be written
                let compiler = try CompilerFixture.compiler(cache: cache)
                let results = try await withThrowingTaskGroup(of: CompiledKernels.self) { group in
                    for index in 0..<8 {
                        group.addTask { try compiler.compile(CompilerFixture.scale(3 + index % 2), for: Self.hopper) }
                    }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                #expect(Set(results.map(\.cubin)).count == 2)
                #expect(compiler.compilationCount == 2)
            }
        }
    }

    @Test("whatever the machine code depends on changes the entry")
    func keys() throws {
        try CompilerFixture.withFolder { folder in
            let compiler = try CompilerFixture.compiler(cache: folder)
            var requests = [
                CompilerFixture.scale(), CompilerFixture.scale(4), CompilerFixture.scale(options: ["--use_fast_math"]),
                CompilerFixture.scale(options: ["--use_fast_math", "--fmad=false"]), CompilerFixture.scale(text: CompilerFixture.scaleText + "\n"),
            ]
            let text = "#include \"Inner.cuh\"\n" + CompilerFixture.scaleText
            for inner in ["", "// other\n"] {
                let header = KernelSource.File(path: "Inner.cuh", text: inner)
                requests.append(KernelRequest(KernelSource(path: "Test/Scale.cu", text: text, headers: [header]), constants: requests[0].constants))
            }
            for (index, request) in requests.enumerated() {
                #expect(try compiler.isCached(request, for: Self.hopper) == false, "\(index)")
                _ = try compiler.compile(request, for: Self.hopper)
                #expect(try CompilerFixture.entries(folder).count == index + 1)
            }
            #expect(try compiler.isCached(requests[0], for: Architecture("sm_89")) == false)
        }
    }

    @Test("an entry that is damaged, cut or of another kernel is compiled again")
    func damage() throws {
        try CompilerFixture.withFolder { folder in
            let compiler = try CompilerFixture.compiler(cache: folder)
            let request = CompilerFixture.scale()
            let kernels = try compiler.compile(request, for: Self.hopper)
            let path = "\(folder)/\(try #require(CompilerFixture.entries(folder).first))"
            let sound = try Data(contentsOf: URL(fileURLWithPath: path))
            var faults: [(String, Data)] = [("empty", Data()), ("mark only", sound.prefix(8)), ("doubled", sound + sound)]
            for count in [1, 7, 16, 17, sound.count / 2, sound.count - 1] { faults.append(("cut to \(count)", sound.prefix(count))) }
            for offset in [0, 7, 8, 15, 20, sound.count / 3, sound.count / 2, sound.count - 17, sound.count - 1] {
                var changed = sound
                changed[offset] ^= 0x10
                faults.append(("bit at \(offset)", changed))
            }
            var lengths = sound
            for index in 8..<16 { lengths[index] = 0xFF }
            faults.append(("length", lengths))
            for (name, bytes) in faults {
                try bytes.write(to: URL(fileURLWithPath: path))
                #expect(try compiler.isCached(request, for: Self.hopper) == false, "\(name)")
                #expect(try compiler.compile(request, for: Self.hopper) == kernels, "\(name)")
                #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == sound, "\(name)")
            }
            // An entry that is sound but answers another question, as after a collision of names.
            let other = CompilerFixture.scale(5)
            _ = try compiler.compile(other, for: Self.hopper)
            let otherPath = "\(folder)/\(try #require(CompilerFixture.entries(folder).first { "\(folder)/\($0)" != path }))"
            try sound.write(to: URL(fileURLWithPath: otherPath))
            #expect(try compiler.isCached(other, for: Self.hopper) == false)
            #expect(try compiler.compile(other, for: Self.hopper) != kernels)
        }
    }

    @Test("many at once agree, and leave nothing half-written")
    func race() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("compiler-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let results = try await withThrowingTaskGroup(of: CompiledKernels.self) { group in
            for index in 0..<16 {
                group.addTask {
                    // A compiler of its own, as another process would have.
                    try CompilerFixture.compiler(cache: folder).compile(CompilerFixture.scale(index % 2), for: Self.hopper)
                }
            }
            var results: [CompiledKernels] = []
            for try await result in group { results.append(result) }
            return results
        }
        #expect(Set(results.map(\.cubin)).count == 2)
        #expect(try CompilerFixture.entries(folder).count == 2)
        let compiler = try CompilerFixture.compiler(cache: folder)
        #expect(try compiler.isCached(CompilerFixture.scale(0), for: Self.hopper))
        #expect(try compiler.isCached(CompilerFixture.scale(1), for: Self.hopper))
    }

    @Test("a folder that cannot be written costs a note, not the work")
    func unwritable() throws {
        try CompilerFixture.withFolder { folder in
            let file = "\(folder)/file"
            try Data().write(to: URL(fileURLWithPath: file))
            for path in ["\(file)/cache", "/proc/apus/kernels"] {
                let compiler = try CompilerFixture.compiler(cache: path)
                #expect(try compiler.compile(CompilerFixture.scale(), for: Self.hopper).cubin.isEmpty == false)
                #expect(compiler.cache.note?.contains(path) == true)
                #expect(compiler.cache.list().isEmpty)
            }
            let nowhere = try Compiler(environment: Environment(CompilerFixture.libraries))
            #expect(nowhere.cache.path == nil)
            #expect(try nowhere.compile(CompilerFixture.scale(), for: Self.hopper).cubin.isEmpty == false)
            #expect(nowhere.cache.note?.contains("HOME") == true)
        }
    }

    @Test("an error of the compiler names file and line, in headers too")
    func errors() throws {
        func error(_ request: KernelRequest, _ architecture: String = "sm_90a") throws -> CUDAError {
            try CompilerFixture.withFolder { folder in
                let compiler = try CompilerFixture.compiler(cache: folder)
                let error = errorOf { _ = try compiler.compile(request, for: Architecture(architecture)) }
                #expect(try CompilerFixture.entries(folder).isEmpty)
                return try #require(error)
            }
        }
        let plain = try error(CompilerFixture.scale(text: "\n\nconstexpr int x = y;\n"))
        #expect(plain.code == .compilation)
        #expect(plain.message.contains("Test/Scale.cu(3): error: identifier \"y\" is undefined"))
        #expect(plain.detail?.contains("1 error") == true)

        let library = KernelLibrary(texts: ["Test/A.cu": "#include \"B.cuh\"\n", "Test/B.cuh": "\n\nconstexpr int x = y;\n"])
        #expect(try error(KernelRequest(library.source("Test/A.cu"))).message.contains("Test/B.cuh(3): error"))
        let absent = try error(CompilerFixture.scale(text: "#include \"C.cuh\"\n"))
        #expect(absent.message.contains("Test/Scale.cu(1)") && absent.message.contains("C.cuh"))
        #expect(try error(CompilerFixture.scale(options: ["--bogus"])).message.contains("--bogus"))
        let architecture = try error(CompilerFixture.scale(), "sm_99")
        #expect(architecture.code == .compilerMissing && architecture.message.contains("sm_99"))
    }

    @Test("figures: registers, shared memory and spills of each kernel, templates by their expression")
    func figures() throws {
        try CompilerFixture.withFolder { folder in
            let text = """
                template <int N> __global__ void reduce(float* x) {
                    __shared__ float s[N];
                    s[threadIdx.x] = x[threadIdx.x];
                    __syncthreads();
                    x[threadIdx.x] = s[threadIdx.x ^ 1];
                }
                extern "C" __global__ void crowded(const float* x, float* y) {
                    float v[64];
                    #pragma unroll
                    for (int i = 0; i < 64; ++i) v[i] = x[i * 1024 + threadIdx.x];
                    __syncthreads();
                    #pragma unroll
                    for (int i = 0; i < 64; ++i) y[i * 1024 + threadIdx.x] = v[i] * v[63 - i];
                }

                """
            let request = KernelRequest(
                KernelSource(path: "Test/Figures.cu", text: text), nameExpressions: ["reduce<128>", "reduce<256>"], options: ["-maxrregcount=32"])
            let compiler = try CompilerFixture.compiler(cache: folder)
            _ = try compiler.compile(request, for: Self.hopper)
            let kernels = try compiler.compile(request, for: Self.hopper)
            let figures = Dictionary(uniqueKeysWithValues: kernels.figures.map { ($0.name, $0) })
            #expect(Set(figures.keys) == ["reduce<128>", "reduce<256>", "crowded"])
            #expect(figures["reduce<128>"]?.sharedByteCount == 512 && figures["reduce<256>"]?.sharedByteCount == 1024)
            #expect(figures["reduce<128>"]?.spills == false)
            let crowded = try #require(figures["crowded"])
            #expect(crowded.registerCount == 32 && crowded.spills && crowded.stackByteCount > 0)
            #expect(kernels.loweredNames["reduce<128>"]?.contains("reduce") == true)
        }
    }

    @Test("a compiler that is not there says where it was looked for")
    func missing() throws {
        let error = try #require(errorOf { _ = try Compiler(environment: Environment(["APUS_NVRTC": "/nowhere/libnvrtc.so.13"])) })
        #expect(error.code == .compilerMissing)
        #expect(error.message.contains("APUS_NVRTC=/nowhere/libnvrtc.so.13"))
        #expect(errorOf { _ = try Compiler(environment: Environment(["APUS_NVRTC": "libc.so.6"])) }?.message.contains("lacks nvrtc") == true)
    }
}
