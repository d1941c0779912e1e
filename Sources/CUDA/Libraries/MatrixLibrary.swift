import CCUDA

#if canImport(Musl)
    import Musl
#else
    import Glibc
#endif

/// cuBLASLt on one GPU, opened at run time: the peer that our own matrix products are measured against. Nothing else here needs it.
///
/// Looked for as libcublasLt.so.13, .12 and plain; `APUS_CUBLASLT` names one file in their place.
package final class MatrixLibrary: Sendable {
    package let context: Context
    /// As the library counts: 130001 is 13.0.1.
    package let version: Int
    package let path: String

    // Safe to share: the table is written once, the handle never changes, and cuBLASLt's functions are thread-safe.
    nonisolated(unsafe) let table: UnsafeMutablePointer<apus_matrix>
    nonisolated(unsafe) let handle: apus_matrix_library

    package init(_ context: Context, environment: Environment = .process) throws(CUDAError) {
        let names = ["libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"]
        let advice = "Put its folder into LD_LIBRARY_PATH, or name the file in APUS_CUBLASLT."
        let library = try SharedLibrary.open(
            "cuBLASLt (libcublasLt)", candidates: SharedLibrary.candidates(names, environment: environment),
            override: ("APUS_CUBLASLT", environment["APUS_CUBLASLT"]), code: .libraryMissing, advice: advice)
        var missing = apus_missing_symbols()
        guard let table = apus_matrix_load(library.handle, &missing) else {
            throw library.incomplete("cuBLASLt", missing, code: .libraryMissing, advice: advice)
        }
        try context.activate()
        var handle: apus_matrix_library?
        let status = table.pointee.create(&handle)
        guard status == 0, let handle else {
            let error = Self.error(table, status, "cublasLtCreate")
            free(table)
            throw error
        }
        self.context = context
        self.table = table
        self.handle = handle
        version = table.pointee.version()
        path = library.path
    }

    deinit {
        try? context.activate()
        _ = table.pointee.destroy(handle)
        free(table)
    }

    func check(_ status: Int32, _ call: StaticString) throws(CUDAError) {
        guard status != 0 else { return }
        throw Self.error(table, status, call)
    }

    private static func error(_ table: UnsafeMutablePointer<apus_matrix>, _ status: Int32, _ call: StaticString) -> CUDAError {
        let name = table.pointee.statusName(status).map { String(cString: $0) } ?? "status"
        return CUDAError(.call, "\(call) failed with \(name) (\(status)).", call: call.description, status: Int(status))
    }
}
