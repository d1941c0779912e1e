import CUDA
import Foundation
import Testing

/// Builds of the C driver in FakeDriver/, each with choices of its own, made by the clang on the search path.
///
/// Every build is a library of its own, so that a fault in one test does not stay for the next.
enum FakeDriver {
    static let isAvailable = compiler != nil
    static let reason: Comment = "needs clang on the search path"

    private static let compiler: String? = {
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        return folders.map { "\($0)/clang" }.first { FileManager.default.isExecutableFile(atPath: $0) }
    }()

    /// A folder that lives as long as the tests.
    private static let folder: URL = {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("fake-driver-\(UUID().uuidString)")
        try? FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        return folder
    }()

    static func environment(_ choices: [String: Int] = [:], synchronous: Bool = false) throws -> Environment {
        let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("FakeDriver/fake_driver.c")
        let library = folder.appendingPathComponent("libcuda-\(UUID().uuidString).so")
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try #require(compiler))
        process.arguments =
            ["-shared", "-fPIC", "-O1", "-o", library.path, source.path] + choices.sorted { $0.key < $1.key }.map { "-D\($0.key)=\($0.value)" }
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        return Environment(["APUS_CUDA_DRIVER": library.path, "APUS_CUDA_SYNCHRONOUS": synchronous ? "1" : ""])
    }

    static func driver(_ choices: [String: Int] = [:], synchronous: Bool = false) throws -> Driver {
        try Driver(environment: environment(choices, synchronous: synchronous))
    }

    static func context(_ choices: [String: Int] = [:], synchronous: Bool = false) throws -> Context {
        try Context(Device(ordinal: 0, driver: driver(choices, synchronous: synchronous)))
    }

    /// A kernel of 168 registers and 1,024 bytes of shared memory with the parameters pointer and 32-bit integer, which it stores there.
    static func kernel(in context: Context) throws -> Kernel {
        let image = ImageFixture.image([("store", [8, 4])])
        return try Module(cubin: image, title: "Fake.cu", in: context).kernel("store")
    }
}

/// The error that a piece of work throws.
func errorOf(_ work: () throws -> Void) -> CUDAError? {
    do {
        try work()
        return nil
    } catch {
        return error as? CUDAError
    }
}
