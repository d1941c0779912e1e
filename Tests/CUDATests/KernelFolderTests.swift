import CUDA
import Foundation
import Testing

/// The kernels of the repository: all in the program, all good for every architecture.
@Suite("The kernel folder")
struct KernelFolderTests {
    /// Kernels/ of this checkout, or nil where only the built tests were copied.
    private static let folder: URL? = {
        var url = URL(fileURLWithPath: #filePath)
        while url.path != "/", !FileManager.default.fileExists(atPath: url.appendingPathComponent("Package.swift").path) {
            url.deleteLastPathComponent()
        }
        let folder = url.appendingPathComponent("Kernels").resolvingSymlinksInPath()
        return FileManager.default.fileExists(atPath: folder.path) ? folder : nil
    }()

    private static let kernels = KernelLibrary.embeddedPaths.filter { $0.hasSuffix(".cu") }

    @Test("every file is in the program, as it is in the folder", .enabled(if: folder != nil, "needs the folder Kernels"))
    func embedded() throws {
        let folder = try #require(Self.folder)
        let files = try FileManager.default.subpathsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".cu") || $0.hasSuffix(".cuh") }
        #expect(Set(files) == Set(KernelLibrary.embeddedPaths), "list every file of Kernels/ in Sources/CKernels/kernels.c")
        #expect(KernelLibrary.embeddedPaths.count == Set(KernelLibrary.embeddedPaths).count)
        for file in files {
            let text = try String(contentsOf: folder.appendingPathComponent(file), encoding: .utf8)
            let isSame = KernelLibrary.embedded.text(file) == text
            #expect(isSame, "\(file) has changed since the program was built")
        }
    }

    /// Kernels named for Hopper use instructions of that architecture alone.
    @Test(
        "every kernel compiles as it stands, without a warning or a spill",
        .enabled(if: CompilerFixture.isAvailable, CompilerFixture.reason),
        arguments: ["sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"])
    func compiles(name: String) throws {
        try CompilerFixture.withFolder { cache in
            let compiler = try CompilerFixture.compiler(cache: cache)
            for path in Self.kernels where name == "sm_90a" || !path.contains("Hopper") {
                let kernels = try compiler.compile(KernelRequest(try KernelLibrary.embedded.source(path)), for: Architecture(name))
                #expect(kernels.warnings.isEmpty, "\(path) for \(name): \(kernels.warnings.joined(separator: "\n"))")
                #expect(!kernels.figures.isEmpty, "\(path) holds no kernel")
                for figures in kernels.figures { #expect(!figures.spills, "\(path) for \(name): \(figures)") }
            }
        }
    }
}
