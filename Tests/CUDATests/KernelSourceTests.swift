import CUDA
import Foundation
import Testing

@Suite("Kernel sources, constants and names")
struct KernelSourceTests {
    @Test("equal constants make equal text, in whatever order they are set")
    func constants() throws {
        var a = KernelConstants()
        a.set("HEADS", 16)
        a.set("EPSILON", 1e-6 as Float)
        a.set("CAUSAL", true)
        a.define("TYPE", "float")
        a.define("ROWS", 8)
        a.set("BIG", 5_000_000_000)
        a.set("LEAST", Int.min)
        a.set("LEAST_INT", Int(Int32.min))
        var b = KernelConstants()
        b.set("LEAST_INT", Int(Int32.min))
        b.set("LEAST", Int.min)
        b.set("HEADS", 8)
        b.define("ROWS", 8)
        b.define("TYPE", "float")
        b.set("BIG", 5_000_000_000)
        b.set("CAUSAL", true)
        b.set("EPSILON", 1e-6 as Float)
        b.set("HEADS", 16)
        #expect(a == b)
        #expect(try a.header() == b.header())
        #expect(
            try a.header() == """
                #pragma once
                constexpr long long BIG = 5000000000ll;
                constexpr bool CAUSAL = true;
                constexpr float EPSILON = 1e-06f;
                constexpr int HEADS = 16;
                constexpr long long LEAST = -9223372036854775807ll - 1;
                constexpr int LEAST_INT = -2147483647 - 1;
                #define ROWS 8
                #define TYPE float

                """)
        #expect(try KernelConstants().header() == "#pragma once\n")
    }

    @Test("what C++ cannot say is refused")
    func badConstants() {
        func refusal(_ set: (inout KernelConstants) -> Void) -> CUDAError.Code? {
            var constants = KernelConstants()
            set(&constants)
            return errorOf { _ = try constants.header() }?.code
        }
        #expect(refusal { $0.set("A", Float.nan) } == .kernelSource)
        #expect(refusal { $0.set("A", Float.infinity) } == .kernelSource)
        #expect(refusal { $0.set("", 1) } == .kernelSource)
        #expect(refusal { $0.set("1A", 1) } == .kernelSource)
        #expect(refusal { $0.set("A B", 1) } == .kernelSource)
        #expect(refusal { $0.set("Ä", 1) } == .kernelSource)
        #expect(refusal { $0.define("A", "1\n#error") } == .kernelSource)
        #expect(refusal { $0.set("_a1", -0.0 as Float) } == nil)
    }

    @Test("includes are found beside the file, then from the top, and carry one name each")
    func includes() throws {
        let library = KernelLibrary(texts: [
            "Operators/A.cu":
                "#include \"Common/X.cuh\"\n  #  include \"../Common/Y.cuh\" // why\n#include \"B.cuh\"\n#include \"apus_constants.h\"\nint a;",
            "Operators/B.cuh": "#include \"Common/X.cuh\"\n#include \"B.cuh\"\n",
            "Common/X.cuh": "#include \"Y.cuh\"\n",
            "Common/Y.cuh": "// #include \"Z.cuh\"\n#include <stdint.h>\n",
            "Common/Z.cuh": "",
            "B.cuh": "",
        ])
        let source = try library.source("Operators/A.cu")
        #expect(
            source.file.text
                == "#include \"Common/X.cuh\"\n  #  include \"Common/Y.cuh\" // why\n#include \"Operators/B.cuh\"\n#include \"apus_constants.h\"\nint a;"
        )
        #expect(source.headers.map(\.path) == ["Common/X.cuh", "Common/Y.cuh", "Operators/B.cuh"])
        #expect(source.headers[0].text == "#include \"Common/Y.cuh\"\n")
        #expect(source.headers[2].text == "#include \"Common/X.cuh\"\n#include \"Operators/B.cuh\"\n")
        let error = try #require(errorOf { _ = try library.source("Operators/Absent.cu") })
        #expect(error.code == .kernelSource && error.message.contains("Operators/Absent.cu"))
        #expect(try KernelLibrary(texts: ["A.cu": "#include \"../../etc/passwd\"\n"]).source("A.cu").headers.isEmpty)
    }

    @Test("APUS_KERNELS puts a folder in place of the sources in the program")
    func folder() throws {
        try CompilerFixture.withFolder { folder in
            try FileManager.default.createDirectory(atPath: "\(folder)/Common", withIntermediateDirectories: true)
            try "#include \"Common/B.cuh\"\n".write(toFile: "\(folder)/A.cu", atomically: true, encoding: .utf8)
            try "int b;\n".write(toFile: "\(folder)/Common/B.cuh", atomically: true, encoding: .utf8)
            let library = KernelLibrary.current(environment: Environment(["APUS_KERNELS": folder]))
            let source = try library.source("A.cu")
            #expect(source.headers == [KernelSource.File(path: "Common/B.cuh", text: "int b;\n")])
            #expect(errorOf { _ = try library.source("C.cu") }?.message.contains(folder) == true)
            #expect(errorOf { _ = try library.source("Common") }?.code == .kernelSource)
        }
        #expect(KernelLibrary.current(environment: Environment([:])).title == KernelLibrary.embedded.title)
    }

    @Test("architectures")
    func architectures() throws {
        let names = [(8, 0, "sm_80"), (8, 6, "sm_86"), (8, 9, "sm_89"), (9, 0, "sm_90a"), (10, 0, "sm_100a"), (12, 0, "sm_120a"), (12, 1, "sm_121a")]
        for (major, minor, name) in names {
            let architecture = Architecture(ComputeCapability(major, minor))
            #expect(architecture.description == name)
            #expect(try Architecture(name) == architecture)
        }
        #expect(try Architecture("90").description == "sm_90")
        for name in ["", "sm_", "sm_9", "90b", "sm90", "sm_90a1", "compute_90", "sm_٩٠", "sm_99999999999999999999"] {
            #expect(errorOf { _ = try Architecture(name) }?.code == .invalidArgument, "\(name)")
        }
    }

    @Test("the cache's folder follows the environment")
    func cacheFolder() {
        #expect(KernelCache(environment: Environment(["APUS_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"])).path == "/a")
        #expect(KernelCache(environment: Environment(["APUS_CACHE": "", "XDG_CACHE_HOME": "/b", "HOME": "/c"])).path == "/b/apus/kernels")
        #expect(KernelCache(environment: Environment(["XDG_CACHE_HOME": "b", "HOME": "/c"])).path == "/c/.cache/apus/kernels")
        #expect(KernelCache(environment: Environment([:])).path == nil)
    }
}
