import CUDA
import Foundation
import Operators
import Testing

/// A GPU whose memory is the host's and whose kernels do nothing, by the C driver of CUDATests, built by the clang on the search path.
enum FakeGPU {
    /// The kernels' compiler must be there too, although nothing is compiled.
    static let isAvailable = clang != nil && compiler != nil
    static let reason: Comment = "needs clang on the search path, and NVRTC"

    private static let compiler = try? Compiler(
        environment: Environment(ProcessInfo.processInfo.environment.filter { ["APUS_NVRTC", "CUDA_HOME", "CUDA_PATH"].contains($0.key) }))

    static let clang: String? = {
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        return folders.map { "\($0)/clang" }.first { FileManager.default.isExecutableFile(atPath: $0) }
    }()

    /// - Parameter memory: bytes of the GPU.
    static func context(memory: Int) throws -> OperatorContext {
        try OperatorContext(Context(device(memory: memory)), compiler: #require(compiler))
    }

    /// - Parameters:
    ///   - memory: bytes of the GPU.
    ///   - settings: further definitions, see the driver.
    static func device(memory: Int, settings: [String: String] = [:]) throws -> Device {
        let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("CUDATests/FakeDriver/fake_driver.c")
        let library = FileManager.default.temporaryDirectory.appendingPathComponent("libcuda-\(UUID().uuidString).so")
        defer { try? FileManager.default.removeItem(at: library) }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try #require(clang))
        process.arguments =
            ["-shared", "-fPIC", "-O1", "-DFAKE_MEMORY=\(memory)"] + settings.map { "-D\($0.key)=\($0.value)" } + ["-o", library.path, source.path]
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        return try Device(ordinal: 0, driver: Driver(environment: Environment(["APUS_CUDA_DRIVER": library.path])))
    }
}
