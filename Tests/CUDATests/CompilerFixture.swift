import CUDA
import Foundation
import Testing

/// NVRTC, where `APUS_NVRTC` or the loader finds one, and folders of a test's own.
enum CompilerFixture {
    static let isAvailable = (try? Compiler(environment: Environment(libraries))) != nil
    static let reason: Comment = "needs NVRTC: name libnvrtc in APUS_NVRTC"

    /// The variables that lead to NVRTC, without those that lead to the user's own cache and kernels.
    static let libraries = ProcessInfo.processInfo.environment.filter { ["APUS_NVRTC", "CUDA_HOME", "CUDA_PATH"].contains($0.key) }

    static func compiler(cache: String, _ more: [String: String] = [:]) throws -> Compiler {
        try Compiler(environment: Environment(libraries.merging(["APUS_CACHE": cache]) { $1 }.merging(more) { $1 }))
    }

    /// An empty folder that is removed after the work.
    static func withFolder<Result>(_ work: (String) throws -> Result) throws -> Result {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("compiler-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        return try work(folder.path)
    }

    static func withFolder<Result>(_ work: (String) async throws -> Result) async throws -> Result {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("compiler-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        return try await work(folder.path)
    }

    static func entries(_ folder: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    }

    /// A kernel that multiplies by a constant.
    static func scale(_ factor: Int = 3, text: String = scaleText, options: [String] = []) -> KernelRequest {
        var constants = KernelConstants()
        constants.set("FACTOR", factor)
        return KernelRequest(KernelSource(path: "Test/Scale.cu", text: text), constants: constants, options: options)
    }

    static let scaleText = """
        #include "apus_constants.h"
        extern "C" __global__ void scale(float* x) { x[threadIdx.x] *= FACTOR; }

        """
}
