import Synchronization

/// What to compile.
package struct KernelRequest: Sendable, Hashable {
    package var source: KernelSource
    package var constants: KernelConstants
    /// C++ expressions that name instances of templates, such as "rmsNorm<128>"; the module finds them by the same text.
    package var nameExpressions: [String]
    /// Further options of NVRTC.
    package var options: [String]

    package init(
        _ source: KernelSource, constants: KernelConstants = KernelConstants(), nameExpressions: [String] = [], options: [String] = []
    ) {
        self.source = source
        self.constants = constants
        self.nameExpressions = nameExpressions
        self.options = options
    }
}

/// Compiles kernels for a GPU when they are needed, and keeps the result on disk.
///
/// Environment: `APUS_NVRTC`, `APUS_CACHE`, `APUS_KERNELS` (a folder whose sources are used in place of those in the program).
/// Safe to use from many threads at once.
package final class Compiler: Sendable {
    package let nvrtc: NVRTC
    package let cache: KernelCache
    package let library: KernelLibrary
    /// Requests that are being compiled, by their keys.
    private let flights = Mutex<[String: Flight]>([:])
    /// What could not be kept on disk.
    private let unkept = Mutex<[String: CompiledKernels]>([:])
    private let compilations = Atomic(0)
    /// How often this compiler has called NVRTC.
    package var compilationCount: Int { compilations.load(ordering: .relaxed) }

    /// One request's result, for all threads that ask for it while it is made: several GPUs of one kind ask for the same kernels at the same time.
    private final class Flight: Sendable {
        let result = Mutex<CompiledKernels?>(nil)
        let waiting = Mutex(0)
    }

    private static let loaded = Result { () throws(CUDAError) in
        try Compiler(environment: .process, driverVersion: (try? Driver.shared())?.version)
    }

    /// The compiler of this process, found on first use. A failure is remembered too.
    package static func shared() throws(CUDAError) -> Compiler { try loaded.get() }

    /// Options of every compilation.
    private let commonOptions: [String]

    /// - Parameters:
    ///   - driverVersion: The driver that shall load the kernels, where there is one.
    ///   - usesDriverCache: False for measuring: NVRTC 13 keeps results of its own in the driver's cache, if there is a driver, whatever `APUS_CACHE` says.
    package init(environment: Environment = .process, driverVersion: CUDAVersion? = nil, usesDriverCache: Bool = true) throws(CUDAError) {
        nvrtc = try NVRTC(environment: environment, driverVersion: driverVersion)
        cache = KernelCache(environment: environment)
        library = .current(environment: environment)
        commonOptions = !usesDriverCache && nvrtc.version >= CUDAVersion(13, 0) ? ["--no-cache"] : []
    }

    /// Compiles a kernel file of the library.
    package func compile(
        _ path: String, constants: KernelConstants = KernelConstants(), nameExpressions: [String] = [], options: [String] = [],
        for architecture: Architecture
    ) throws(CUDAError) -> CompiledKernels {
        let request = KernelRequest(
            try library.source(path), constants: constants, nameExpressions: nameExpressions, options: options)
        return try compile(request, for: architecture)
    }

    /// Compiles a request, or takes what an earlier compilation of the same request left in the cache.
    ///
    /// Where the cache cannot be written, this compiler keeps it itself. The result depends on nothing but the request, the architecture and NVRTC's
    /// version. Throws ``CUDAError/Code/compilation`` with file, line and the whole log. Cost: 0.1 to 3 seconds, well under a millisecond from the
    /// cache. Threads that ask for the same at once wait for one compilation.
    package func compile(_ request: KernelRequest, for architecture: Architecture) throws(CUDAError) -> CompiledKernels {
        guard nvrtc.architectures.isEmpty || nvrtc.architectures.contains(architecture.number) else {
            throw CUDAError(
                .compilerMissing,
                "NVRTC \(nvrtc.version) at \(nvrtc.path) cannot compile for \(architecture): it knows sm_\(nvrtc.architectures.map(String.init).joined(separator: ", sm_")). Install a newer one, or name it in APUS_NVRTC."
            )
        }
        let constants = try request.constants.header()
        let options = options(for: request, architecture)
        let key = KernelKey(
            request, constants: constants, architecture: architecture, compiler: "NVRTC \(nvrtc.version)", options: options)
        let flight = flights.withLock { flights in
            let flight = flights[key.text] ?? Flight()
            flights[key.text] = flight
            flight.waiting.withLock { $0 += 1 }
            return flight
        }
        defer {
            flights.withLock { flights in
                let isLast = flight.waiting.withLock { count in
                    count -= 1
                    return count == 0
                }
                if isLast { flights[key.text] = nil }
            }
        }
        return try flight.result.withLock { known throws(CUDAError) in
            if let known { return known }
            let kernels = try make(request, key: key.text, constants: constants, options: options, architecture)
            known = kernels
            return kernels
        }
    }

    private func make(
        _ request: KernelRequest, key: String, constants: String, options: [String], _ architecture: Architecture
    ) throws(CUDAError) -> CompiledKernels {
        if let entry = cache.entry(key) {
            return entry.kernels(name: request.source.file.path, architecture: architecture.description)
        }
        if let kernels = unkept.withLock({ $0[key] }) { return kernels }
        compilations.wrappingAdd(1, ordering: .relaxed)
        let headers = request.source.headers + [KernelSource.File(path: KernelConstants.headerName, text: constants)]
        let output = try nvrtc.compile(request.source, headers: headers, options: options, nameExpressions: request.nameExpressions)
        let kernels = CompiledKernels(
            name: request.source.file.path, architecture: architecture.description, cubin: output.cubin, loweredNames: output.loweredNames,
            log: output.log)
        cache.store(CacheEntry(key: key, kernels))
        if cache.note != nil { unkept.withLock { $0[key] = kernels } }
        return kernels
    }

    /// True when a request needs no compilation.
    package func isCached(_ request: KernelRequest, for architecture: Architecture) throws(CUDAError) -> Bool {
        let key = KernelKey(
            request, constants: try request.constants.header(), architecture: architecture, compiler: "NVRTC \(nvrtc.version)",
            options: options(for: request, architecture))
        return cache.entry(key.text) != nil
    }

    private func options(for request: KernelRequest, _ architecture: Architecture) -> [String] {
        // The assembler's -v puts registers, spills and shared memory into the log.
        ["--gpu-architecture=\(architecture)", "--std=c++20", "--ptxas-options=-v"] + commonOptions + request.options
    }
}
