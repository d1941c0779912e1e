import CCUDA

#if canImport(Musl)
    import Musl
#else
    import Glibc
#endif

/// NVIDIA's run-time compiler, opened at run time. It needs neither a GPU nor a driver.
///
/// Looked for as libnvrtc.so.13, .12 and plain, by the loader and in the toolkit's usual folders; `APUS_NVRTC` names one file in their place.
package final class NVRTC: Sendable {
    package let version: CUDAVersion
    package let path: String
    /// The architectures that it compiles for, as numbers: 90 is sm_90.
    package let architectures: [Int]

    // Safe to share: the table is written once, before this object exists, and NVRTC's functions are thread-safe.
    nonisolated(unsafe) private let table: UnsafeMutablePointer<apus_compiler>

    private static let advice =
        "Install NVRTC (the package nvidia-cuda-nvrtc of pip or the CUDA toolkit has it) and put its folder into LD_LIBRARY_PATH, or name the file in APUS_NVRTC."

    /// - Parameter driverVersion: Where given, a compiler of the driver's own generation is looked for first: what a newer one makes may not load.
    package init(environment: Environment, driverVersion: CUDAVersion? = nil) throws(CUDAError) {
        let names =
            (driverVersion?.major ?? 13) < 13
            ? ["libnvrtc.so.12", "libnvrtc.so.13", "libnvrtc.so"] : ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"]
        let library = try SharedLibrary.open(
            "NVRTC (libnvrtc), which compiles the GPU kernels,", candidates: SharedLibrary.candidates(names, environment: environment),
            override: ("APUS_NVRTC", environment["APUS_NVRTC"]), code: .compilerMissing, advice: Self.advice)
        var missing = apus_missing_symbols()
        guard let table = apus_compiler_load(library.handle, &missing) else {
            throw library.incomplete("NVRTC", missing, code: .compilerMissing, advice: Self.advice)
        }
        var major: Int32 = 0
        var minor: Int32 = 0
        guard table.pointee.version(&major, &minor) == 0, major >= 12 else {
            free(table)
            throw CUDAError(
                .compilerMissing, "NVRTC at \(library.path) is of version \(major).\(minor), but 12.0 or newer is needed. \(Self.advice)")
        }
        self.table = table
        version = CUDAVersion(Int(major), Int(minor))
        path = library.path
        architectures = Self.readArchitectures(table)
        Self.openBuiltins(library, version)
    }

    deinit { free(table) }

    private static func readArchitectures(_ table: UnsafeMutablePointer<apus_compiler>) -> [Int] {
        var count: Int32 = 0
        guard table.pointee.architectureCount(&count) == 0, count > 0, count < 1024 else { return [] }
        var values = [Int32](repeating: 0, count: Int(count))
        return table.pointee.architectures(&values) == 0 ? values.map(Int.init) : []
    }

    /// NVRTC opens a second library by its bare name, which fails when it was itself opened by path from a folder that the loader does not know. Opened
    /// beforehand from the same folder, it is found by that name.
    private static func openBuiltins(_ library: SharedLibrary, _ version: CUDAVersion) {
        var folder = [CChar](repeating: 0, count: 4096)
        guard apus_library_folder(library.handle, "nvrtcVersion", &folder, folder.count) else { return }
        let path = String(decoding: folder.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        _ = dlopen("\(path)libnvrtc-builtins.so.\(version)", RTLD_NOW | RTLD_LOCAL)
    }

    struct Output {
        let cubin: [UInt8]
        let log: String
        let loweredNames: [String: String]
    }

    /// Compiles one source. Headers are found by their names, from memory. Cost: 0.1 to 3 seconds a kernel.
    func compile(
        _ source: KernelSource, headers: [KernelSource.File], options: [String], nameExpressions: [String]
    ) throws(CUDAError) -> Output {
        let title = source.file.path
        let files = headers
        var program: apus_program?
        let created = withCStrings(files.map(\.text)) { texts in
            withCStrings(files.map(\.path)) { names in
                table.pointee.createProgram(&program, source.file.text, title, Int32(files.count), texts, names)
            }
        }
        try check(created, "nvrtcCreateProgram", title)
        guard let program else { throw CUDAError(.compilation, "\(title): nvrtcCreateProgram gave no program") }
        defer {
            var program: apus_program? = program
            _ = table.pointee.destroyProgram(&program)
        }
        for expression in nameExpressions {
            try check(table.pointee.addNameExpression(program, expression), "nvrtcAddNameExpression", title)
        }
        let status = withCStrings(options) { table.pointee.compileProgram(program, Int32(options.count), $0) }
        let log = readLog(program)
        guard status == 0 else { throw compilationError(title, status, log) }
        var byteCount = 0
        try check(table.pointee.cubinByteCount(program, &byteCount), "nvrtcGetCUBINSize", title)
        var cubin = [UInt8](repeating: 0, count: byteCount)
        let read = cubin.withUnsafeMutableBytes { bytes -> Int32 in
            guard let base = bytes.bindMemory(to: CChar.self).baseAddress else { return 11 }
            return table.pointee.cubin(program, base)
        }
        try check(read, "nvrtcGetCUBIN", title)
        var loweredNames: [String: String] = [:]
        for expression in nameExpressions {
            var name: UnsafePointer<CChar>?
            try check(table.pointee.loweredName(program, expression, &name), "nvrtcGetLoweredName", "\(title), \(expression)")
            if let name { loweredNames[expression] = String(cString: name) }
        }
        return Output(cubin: cubin, log: log, loweredNames: loweredNames)
    }

    private func readLog(_ program: apus_program) -> String {
        var byteCount = 0
        guard table.pointee.logByteCount(program, &byteCount) == 0, byteCount > 1 else { return "" }
        var text = [CChar](repeating: 0, count: byteCount)
        guard table.pointee.log(program, &text) == 0 else { return "" }
        let log = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        // How long it took is no property of the result: equal compilations shall leave equal entries.
        return log.split(separator: "\n", omittingEmptySubsequences: false).filter { !$0.contains(": Compile time = ") }.joined(separator: "\n")
    }

    /// The first error goes into the message, the whole log beside it.
    private func compilationError(_ title: String, _ status: Int32, _ log: String) -> CUDAError {
        let lines = log.split(separator: "\n")
        let first = lines.first { $0.contains("error") } ?? lines.first
        return CUDAError(
            .compilation, "\(title) does not compile with NVRTC \(version): \(first.map(String.init) ?? text(of: status))",
            call: "nvrtcCompileProgram",
            status: Int(status), detail: log)
    }

    private func check(_ status: Int32, _ call: String, _ title: String) throws(CUDAError) {
        guard status != 0 else { return }
        throw CUDAError(.compilation, "\(title): \(call) failed with \(text(of: status)) (\(status))", call: call, status: Int(status))
    }

    private func text(of status: Int32) -> String {
        table.pointee.errorText(status).map { String(cString: $0) } ?? "status \(status)"
    }
}

/// Lends texts as an array of C strings.
private func withCStrings<Result>(_ texts: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>?) -> Result) -> Result {
    // One block of memory for all texts, each ended by a zero; the pointers go into it.
    var bytes: [CChar] = []
    var offsets: [Int] = []
    for text in texts {
        offsets.append(bytes.count)
        bytes.append(contentsOf: text.utf8.lazy.map { CChar(bitPattern: $0) })
        bytes.append(0)
    }
    return bytes.withUnsafeBufferPointer { buffer in
        let pointers = offsets.map { offset in buffer.baseAddress.map { $0 + offset } }
        return pointers.withUnsafeBufferPointer { body($0.baseAddress) }
    }
}
