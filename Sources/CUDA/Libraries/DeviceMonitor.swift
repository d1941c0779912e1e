import CCUDA

#if canImport(Musl)
    import Musl
#else
    import Glibc
#endif

/// NVML's view of one GPU: power, clocks and temperature while work runs.
///
/// `APUS_NVML` names the library in place of libnvidia-ml.so.1. A reading costs up to some milliseconds and may be a tenth of a second old.
package final class DeviceMonitor: Sendable {
    // Safe to share: the table is written once, the handle never changes, and NVML's functions are thread-safe.
    private nonisolated(unsafe) let table: UnsafeMutablePointer<apus_monitor>
    private nonisolated(unsafe) let handle: apus_monitored_device
    /// The driver's version as nvidia-smi shows it, such as 580.65.06.
    package let driverVersion: String

    package init(_ device: Device, environment: Environment = .process) throws(CUDAError) {
        let advice = "It comes with the NVIDIA driver (nvidia-smi uses it too)."
        let library = try SharedLibrary.open(
            "NVML (libnvidia-ml)", candidates: ["libnvidia-ml.so.1", "libnvidia-ml.so"], override: ("APUS_NVML", environment["APUS_NVML"]),
            code: .libraryMissing, advice: advice)
        var missing = apus_missing_symbols()
        guard let table = apus_monitor_load(library.handle, &missing) else {
            throw library.incomplete("NVML", missing, code: .libraryMissing, advice: advice)
        }
        var status = table.pointee.initialize()
        guard status == 0 else {
            let error = Self.error(table, status, "nvmlInit")
            free(table)
            throw error
        }
        var handle: apus_monitored_device?
        status = table.pointee.deviceByUUID(device.uuid, &handle)
        guard status == 0, let handle else {
            let error = Self.error(table, status, "nvmlDeviceGetHandleByUUID")
            _ = table.pointee.shutdown()
            free(table)
            throw error
        }
        var version = [CChar](repeating: 0, count: 96)
        _ = table.pointee.driverVersion(&version, UInt32(version.count))
        driverVersion = String(decoding: version.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        self.table = table
        self.handle = handle
    }

    deinit {
        _ = table.pointee.shutdown()
        free(table)
    }

    /// What the GPU draws now, in watts.
    package func power() throws(CUDAError) -> Double {
        var milliwatts: UInt32 = 0
        try check(table.pointee.power(handle, &milliwatts), "nvmlDeviceGetPowerUsage")
        return Double(milliwatts) / 1000
    }

    /// What the GPU may draw, in watts.
    package func powerLimit() throws(CUDAError) -> Double {
        var milliwatts: UInt32 = 0
        try check(table.pointee.powerLimit(handle, &milliwatts), "nvmlDeviceGetEnforcedPowerLimit")
        return Double(milliwatts) / 1000
    }

    /// The energy drawn since the driver was loaded, in joules; the difference of two readings is exact where power readings are samples.
    package func energy() throws(CUDAError) -> Double {
        var millijoules: UInt64 = 0
        try check(table.pointee.energy(handle, &millijoules), "nvmlDeviceGetTotalEnergyConsumption")
        return Double(millijoules) / 1000
    }

    /// The clocks now, in MHz.
    package func clocks() throws(CUDAError) -> (multiprocessor: Int, memory: Int) {
        var multiprocessor: UInt32 = 0
        var memory: UInt32 = 0
        try check(table.pointee.clock(handle, UInt32(apus_monitor_clock_sm), &multiprocessor), "nvmlDeviceGetClockInfo")
        try check(table.pointee.clock(handle, UInt32(apus_monitor_clock_memory), &memory), "nvmlDeviceGetClockInfo")
        return (Int(multiprocessor), Int(memory))
    }

    /// The GPU's temperature, in degrees Celsius.
    package func temperature() throws(CUDAError) -> Int {
        var celsius: UInt32 = 0
        try check(table.pointee.temperature(handle, UInt32(apus_monitor_sensor_gpu), &celsius), "nvmlDeviceGetTemperature")
        return Int(celsius)
    }

    private func check(_ status: Int32, _ call: StaticString) throws(CUDAError) {
        guard status != 0 else { return }
        throw Self.error(table, status, call)
    }

    private static func error(_ table: UnsafeMutablePointer<apus_monitor>, _ status: Int32, _ call: StaticString) -> CUDAError {
        let text = table.pointee.errorText(status).map { String(cString: $0) } ?? "status"
        return CUDAError(.call, "\(call) failed with \(text) (\(status)).", call: call.description, status: Int(status))
    }
}
