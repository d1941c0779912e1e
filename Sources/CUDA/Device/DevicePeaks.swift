/// The rates that a GPU reaches on paper: the roof that measurements are held against.
///
/// Arithmetic rates are operations per second, a multiply-add counted as two, on dense matrices with fp32 accumulation.
public struct DevicePeaks: Sendable, Equatable {
    /// The clock that the tensor rates were computed at, in kHz.
    public let clockKilohertz: Int
    public let fp32: Double
    /// bf16 and fp16 on the tensor cores.
    public let bf16: Double
    /// e4m3 and e5m2 on the tensor cores; nil where they have none.
    public let fp8: Double?
    /// Bytes per second of the GPU's memory, from bus width and clock.
    public let bandwidth: Double
}

extension Device {
    /// This GPU's rates on paper; nil for a compute capability that the table does not hold, or when the driver tells no clock.
    ///
    /// They are computed at the clock of the data sheet where the part is known by its name, so that a share of the peak can be compared with
    /// published ones (an H200: 989 TFLOP/s in bf16, at 1,830 MHz), and at the driver's highest clock otherwise. A GPU may run above the first
    /// and below the second.
    public var peaks: DevicePeaks? {
        guard let clock = dataSheetClockKilohertz, let tensor = peaks(clockKilohertz: clock) else { return peaks(clockKilohertz: clockKilohertz) }
        // Data sheets count the tensor cores at a boost clock of their own, and plain fp32 at the highest.
        return DevicePeaks(
            clockKilohertz: clock, fp32: peaks(clockKilohertz: clockKilohertz)?.fp32 ?? tensor.fp32, bf16: tensor.bf16, fp8: tensor.fp8,
            bandwidth: tensor.bandwidth)
    }

    /// This GPU's rates on paper at a given clock.
    public func peaks(clockKilohertz: Int) -> DevicePeaks? {
        guard clockKilohertz > 0, let rates = MultiprocessorRates(computeCapability, isGeForce: name.contains("GeForce")) else {
            return nil
        }
        let cycles = Double(multiprocessorCount) * Double(clockKilohertz) * 1e3
        return DevicePeaks(
            clockKilohertz: clockKilohertz, fp32: cycles * rates.fp32, bf16: cycles * rates.bf16, fp8: rates.fp8.map { cycles * $0 },
            bandwidth: Double(memoryBusWidth) / 8 * 2 * Double(memoryClockKilohertz) * 1e3)
    }

    private var dataSheetClockKilohertz: Int? {
        switch computeCapability {
        case ComputeCapability(8, 0): 1_410_000
        case ComputeCapability(9, 0) where name.contains("H200") || name.contains("H100 80GB HBM3") || name.contains("GH200"): 1_830_000
        case ComputeCapability(9, 0) where name.contains("H100 PCIe"): 1_755_000
        default: nil
        }
    }
}

/// Operations of one multiprocessor in one cycle, from NVIDIA's architecture papers: the tensor rate of the whole part over its
/// multiprocessors and boost clock. GeForce parts accumulate in fp32 at half the rate of the same chip's professional parts.
private struct MultiprocessorRates {
    let fp32: Double
    let bf16: Double
    let fp8: Double?

    init?(_ capability: ComputeCapability, isGeForce: Bool) {
        switch (capability.major, capability.minor) {
        case (8, 0): (fp32, bf16, fp8) = (128, 2048, nil)
        case (8, 6), (8, 7): (fp32, bf16, fp8) = (256, isGeForce ? 512 : 1024, nil)
        case (8, 9): (fp32, bf16, fp8) = (256, isGeForce ? 512 : 1024, isGeForce ? 1024 : 2048)
        case (9, 0): (fp32, bf16, fp8) = (256, 4096, 8192)
        case (10, 0), (10, 3): (fp32, bf16, fp8) = (256, 8192, 16384)
        case (12, 0), (12, 1): (fp32, bf16, fp8) = (256, isGeForce ? 512 : 1024, isGeForce ? 1024 : 2048)
        default: return nil
        }
    }
}
