import CCUDA

#if canImport(Musl)
    import Musl
#else
    import Glibc
#endif

/// NVIDIA's driver, opened at run time: the way to every GPU of this machine.
///
/// Cost: the first ``shared()`` opens libcuda and initialises it (tens of milliseconds, more on a machine with many GPUs); later ones are free.
/// Environment: `APUS_CUDA_DRIVER` names the libcuda to open in place of the system's, `APUS_CUDA_SYNCHRONOUS=1` waits after every launch, so
/// that a kernel that crashes is named.
public final class Driver: Sendable {
    /// The oldest CUDA version that the driver must support: 12.0 brought tensor maps and clusters, and is what drivers 525 and newer offer.
    public static let minimumVersion = CUDAVersion(12, 0)

    /// The newest CUDA version that this driver supports.
    public let version: CUDAVersion
    /// The name or path that libcuda was opened by.
    public let path: String
    /// True when every launch is waited for.
    package let isSynchronous: Bool

    // Safe to share: the table is written once, before this object exists, and libcuda's functions are thread-safe.
    nonisolated(unsafe) let table: UnsafeMutablePointer<apus_driver>

    private static let loaded = Result { () throws(CUDAError) in try Driver(environment: .process) }

    /// The driver of this process, opened on first use. A failure is remembered too.
    public static func shared() throws(CUDAError) -> Driver { try loaded.get() }

    package init(environment: Environment) throws(CUDAError) {
        let library = try SharedLibrary.open(
            "NVIDIA's driver (libcuda)", candidates: ["libcuda.so.1", "libcuda.so"],
            override: ("APUS_CUDA_DRIVER", environment["APUS_CUDA_DRIVER"]), code: .libraryMissing,
            advice: "Install the NVIDIA driver, or run with --device cpu.")
        var missing = apus_missing_symbols()
        var number: Int32 = 0
        let table = apus_driver_load(library.handle, &missing, &number)
        let version = CUDAVersion(number: Int(number))
        // The version explains the holes in the table of an old driver, so it is looked at first.
        if number > 0, version < Self.minimumVersion {
            free(table)
            throw CUDAError(
                .driverTooOld,
                "the NVIDIA driver supports CUDA \(version), but \(Self.minimumVersion) is needed. Install driver 525 or newer, or run with --device cpu."
            )
        }
        guard let table else {
            throw library.incomplete(
                "NVIDIA's driver (libcuda)", missing, code: .driverTooOld, advice: "Install driver 525 or newer, or run with --device cpu.")
        }
        self.table = table
        self.version = version
        path = library.path
        isSynchronous = environment.isOn("APUS_CUDA_SYNCHRONOUS")
        try check(table.pointee.initialize(0), "cuInit")
    }

    deinit { free(table) }

    /// Throws what a status other than success means.
    ///
    /// - Parameter work: What was being done, such as the kernel's name; it stands ahead of the message.
    @inline(__always)
    func check(_ status: Int32, _ call: StaticString, _ work: @autoclosure () -> String? = nil) throws(CUDAError) {
        guard status != 0 else { return }
        throw error(status, call, work())
    }

    /// The error for a status: the call, the driver's name and text for it, and what to do.
    func error(_ status: Int32, _ call: StaticString, _ work: String? = nil) -> CUDAError {
        let meaning = DriverStatus(status)
        var message = "\(call) failed with \(name(of: status)) (\(status))"
        if let text = text(of: status) { message += ": \(text)" }
        message += "."
        if let advice = meaning.advice { message += " \(advice)" }
        if let work { message = "\(work): \(message)" }
        return CUDAError(meaning.code, message, call: call.description, status: Int(status))
    }

    private func name(of status: Int32) -> String {
        var pointer: UnsafePointer<CChar>?
        guard table.pointee.errorName(status, &pointer) == 0, let pointer else { return "status" }
        return String(cString: pointer)
    }

    private func text(of status: Int32) -> String? {
        var pointer: UnsafePointer<CChar>?
        guard table.pointee.errorText(status, &pointer) == 0, let pointer else { return nil }
        return String(cString: pointer)
    }
}

/// A version of CUDA, such as 12.4.
public struct CUDAVersion: Sendable, Hashable, Comparable, CustomStringConvertible {
    public let major: Int
    public let minor: Int

    public init(_ major: Int, _ minor: Int) {
        self.major = major
        self.minor = minor
    }

    /// From the form that CUDA itself uses: 12040 is 12.4.
    init(number: Int) {
        self.init(number / 1000, number % 1000 / 10)
    }

    public static func < (a: CUDAVersion, b: CUDAVersion) -> Bool { (a.major, a.minor) < (b.major, b.minor) }

    public var description: String { "\(major).\(minor)" }
}
