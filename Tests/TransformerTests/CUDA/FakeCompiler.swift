import CUDA
import Foundation
import Testing

/// A libnvrtc whose machine code is nothing, which suffices for a GPU whose kernels do nothing: it tells what is compiled, and when.
enum FakeCompiler {
    /// Files of a compiler and of its cache, removed at the end.
    static func withFolder(_ body: (Foundation.URL) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("fake-nvrtc-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try body(folder)
    }

    /// - Parameters:
    ///   - together: compilations that must be under way at once; those of less fail after ten seconds.
    ///   - milliseconds: what one takes.
    static func make(in folder: Foundation.URL, together: Int = 1, milliseconds: Int = 0) throws -> Compiler {
        let library = folder.appendingPathComponent("libnvrtc-\(UUID().uuidString).so")
        let source = folder.appendingPathComponent("nvrtc.c")
        try Data(text.utf8).write(to: source)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try #require(FakeGPU.clang))
        process.arguments = [
            "-shared", "-fPIC", "-O1", "-DTOGETHER=\(together)", "-DMILLISECONDS=\(milliseconds)", "-o", library.path, source.path,
        ]
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        return try Compiler(
            environment: Environment(["APUS_NVRTC": library.path, "APUS_CACHE": folder.appendingPathComponent("cache").path]))
    }

    private static let text = #"""
        #include <stddef.h>
        #include <string.h>
        #include <unistd.h>
        static int underWay, most;
        static char program[8];
        int nvrtcVersion(int *major, int *minor) { *major = 13, *minor = 0; return 0; }
        int nvrtcGetNumSupportedArchs(int *count) { *count = 2; return 0; }
        int nvrtcGetSupportedArchs(int *values) { values[0] = 80, values[1] = 90; return 0; }
        int nvrtcCreateProgram(void **made, const char *t, const char *n, int c, const char *const *h, const char *const *i) {
            *made = program;
            return 0;
        }
        int nvrtcDestroyProgram(void **made) { *made = NULL; return 0; }
        int nvrtcAddNameExpression(void *made, const char *expression) { return 0; }
        int nvrtcCompileProgram(void *made, int count, const char *const *options) {
            int now = __atomic_add_fetch(&underWay, 1, __ATOMIC_SEQ_CST);
            if (now > __atomic_load_n(&most, __ATOMIC_SEQ_CST)) __atomic_store_n(&most, now, __ATOMIC_SEQ_CST);
            for (int i = 0; i < 10000 && __atomic_load_n(&most, __ATOMIC_SEQ_CST) < TOGETHER; i += 1) usleep(1000);
            usleep(1000 * MILLISECONDS);
            __atomic_sub_fetch(&underWay, 1, __ATOMIC_SEQ_CST);
            return __atomic_load_n(&most, __ATOMIC_SEQ_CST) < TOGETHER ? 6 : 0;
        }
        int nvrtcGetLoweredName(void *made, const char *expression, const char **name) { *name = expression; return 0; }
        int nvrtcGetProgramLogSize(void *made, size_t *count) { *count = 1; return 0; }
        int nvrtcGetProgramLog(void *made, char *log) { *log = 0; return 0; }
        int nvrtcGetCUBINSize(void *made, size_t *count) { *count = 128; return 0; }
        int nvrtcGetCUBIN(void *made, char *bytes) { memset(bytes, 0, 128); memcpy(bytes, "\177ELF", 4); return 0; }
        const char *nvrtcGetErrorString(int status) { return status ? "NVRTC_ERROR_COMPILATION" : "NVRTC_SUCCESS"; }
        """#
}
