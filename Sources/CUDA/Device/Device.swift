import CCUDA

/// One GPU as the driver describes it. Reading it starts nothing on the GPU: work needs a ``Context``.
public struct Device: Sendable {
    /// The position among the GPUs that `CUDA_VISIBLE_DEVICES` leaves visible.
    public let ordinal: Int
    public let name: String
    /// The form that nvidia-smi shows: GPU- and 32 hexadecimal digits in groups.
    public let uuid: String
    public let computeCapability: ComputeCapability
    public let multiprocessorCount: Int
    public let memoryByteCount: Int
    public let l2ByteCount: Int
    /// Bits that the memory interface moves per transfer.
    public let memoryBusWidth: Int
    /// The highest clock of the multiprocessors, in kHz; 0 where the driver does not say.
    public let clockKilohertz: Int
    /// The highest clock of the memory, in kHz; it transfers twice per cycle. 0 where the driver does not say.
    public let memoryClockKilohertz: Int
    /// Shared memory that one block may use, in bytes.
    public let sharedByteCountPerBlock: Int
    /// Shared memory of one multiprocessor, in bytes.
    public let sharedByteCountPerMultiprocessor: Int
    public let registersPerMultiprocessor: Int
    public let maximumThreadsPerBlock: Int
    public let maximumThreadsPerMultiprocessor: Int
    package let maximumBlock: (x: Int, y: Int, z: Int)
    package let maximumGrid: (x: Int, y: Int, z: Int)
    package let supportsClusters: Bool
    package let supportsCooperativeLaunch: Bool
    package let supportsMemoryPools: Bool
    package let driver: Driver
    let handle: Int32

    /// The oldest GPU that the kernels run on: Ampere, for its asynchronous copies and bf16 tensor cores.
    public static let minimumComputeCapability = ComputeCapability(8, 0)

    /// Every GPU that the driver shows, those too old included.
    public static func all() throws(CUDAError) -> [Device] { try all(driver: .shared()) }

    /// The GPU at a position.
    public init(ordinal: Int) throws(CUDAError) { try self.init(ordinal: ordinal, driver: .shared()) }

    package static func all(driver: Driver) throws(CUDAError) -> [Device] {
        var devices: [Device] = []
        for ordinal in 0..<(try count(driver: driver)) { devices.append(try Device(ordinal: ordinal, driver: driver)) }
        return devices
    }

    static func count(driver: Driver) throws(CUDAError) -> Int {
        var count: Int32 = 0
        try driver.check(driver.table.pointee.deviceCount(&count), "cuDeviceGetCount")
        return Int(count)
    }

    package init(ordinal: Int, driver: Driver) throws(CUDAError) {
        let count = try Self.count(driver: driver)
        guard ordinal >= 0, ordinal < count else {
            let shown =
                count == 0 ? "the driver shows no GPU" : "the driver shows \(count == 1 ? "only cuda:0" : "cuda:0 to cuda:\(count - 1)")"
            throw CUDAError(
                .noDevice, "there is no GPU cuda:\(ordinal): \(shown). Check nvidia-smi and CUDA_VISIBLE_DEVICES, or run with --device cpu."
            )
        }
        let table = driver.table
        var handle: Int32 = 0
        try driver.check(table.pointee.device(&handle, Int32(ordinal)), "cuDeviceGet")
        self.driver = driver
        self.handle = handle
        self.ordinal = ordinal
        name = try Self.readName(handle, driver)
        uuid = try Self.readUUID(handle, driver)
        var byteCount = 0
        try driver.check(table.pointee.deviceMemory(&byteCount, handle), "cuDeviceTotalMem")
        memoryByteCount = byteCount

        func read(_ attribute: Attribute) throws(CUDAError) -> Int {
            var value: Int32 = 0
            try driver.check(table.pointee.deviceAttribute(&value, attribute.rawValue, handle), "cuDeviceGetAttribute")
            return Int(value)
        }
        computeCapability = ComputeCapability(try read(.computeCapabilityMajor), try read(.computeCapabilityMinor))
        multiprocessorCount = try read(.multiprocessorCount)
        l2ByteCount = try read(.l2ByteCount)
        memoryBusWidth = try read(.memoryBusWidth)
        clockKilohertz = try read(.clockRate)
        memoryClockKilohertz = try read(.memoryClockRate)
        sharedByteCountPerBlock = try read(.sharedPerBlockOptIn)
        sharedByteCountPerMultiprocessor = try read(.sharedPerMultiprocessor)
        registersPerMultiprocessor = try read(.registersPerMultiprocessor)
        maximumThreadsPerBlock = try read(.threadsPerBlock)
        maximumThreadsPerMultiprocessor = try read(.threadsPerMultiprocessor)
        maximumBlock = (try read(.blockX), try read(.blockY), try read(.blockZ))
        maximumGrid = (try read(.gridX), try read(.gridY), try read(.gridZ))
        supportsCooperativeLaunch = try read(.cooperativeLaunch) != 0
        supportsMemoryPools = try read(.memoryPools) != 0
        // A driver that does not know the attribute refuses the question.
        supportsClusters = (try? read(.clusterLaunch)) ?? 0 != 0
    }

    /// True when the kernels run on this GPU.
    public var isSupported: Bool { computeCapability >= Self.minimumComputeCapability }

    /// Throws when the kernels do not run on this GPU.
    package func requireSupport() throws(CUDAError) {
        guard isSupported else {
            throw CUDAError(
                .deviceTooOld,
                "\(description) has compute capability \(computeCapability), but \(Self.minimumComputeCapability) (Ampere) or newer is needed. Run with --device cpu."
            )
        }
    }

    private static func readName(_ handle: Int32, _ driver: Driver) throws(CUDAError) -> String {
        var status: Int32 = 0
        let name = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer -> String in
            buffer.initialize(repeating: 0)
            guard let base = buffer.baseAddress else { return "" }
            status = driver.table.pointee.deviceName(base, 255, handle)
            return String(cString: base)
        }
        try driver.check(status, "cuDeviceGetName")
        return name
    }

    private static func readUUID(_ handle: Int32, _ driver: Driver) throws(CUDAError) -> String {
        var bytes = [UInt8](repeating: 0, count: 16)
        try driver.check(driver.table.pointee.deviceUUID(&bytes, handle), "cuDeviceGetUuid")
        var text = "GPU"
        for (index, byte) in bytes.enumerated() {
            if [0, 4, 6, 8, 10].contains(index) { text += "-" }
            text += (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
        return text
    }

    /// Numbers of CUdevice_attribute.
    private enum Attribute: UInt32 {
        case threadsPerBlock = 1
        case blockX = 2
        case blockY = 3
        case blockZ = 4
        case gridX = 5
        case gridY = 6
        case gridZ = 7
        case clockRate = 13
        case multiprocessorCount = 16
        case memoryClockRate = 36
        case memoryBusWidth = 37
        case l2ByteCount = 38
        case threadsPerMultiprocessor = 39
        case computeCapabilityMajor = 75
        case computeCapabilityMinor = 76
        case sharedPerMultiprocessor = 81
        case registersPerMultiprocessor = 82
        case cooperativeLaunch = 95
        case sharedPerBlockOptIn = 97
        case memoryPools = 115
        case clusterLaunch = 120
    }
}

extension Device: CustomStringConvertible {
    /// Such as "NVIDIA H200 (cuda:0)".
    public var description: String { "\(name) (cuda:\(ordinal))" }
}

/// What instructions a GPU has: 8.0 is Ampere, 8.9 Ada, 9.0 Hopper, 10 and 12 Blackwell.
public struct ComputeCapability: Sendable, Hashable, Comparable, CustomStringConvertible {
    public let major: Int
    public let minor: Int

    public init(_ major: Int, _ minor: Int) {
        self.major = major
        self.minor = minor
    }

    public static func < (a: ComputeCapability, b: ComputeCapability) -> Bool { (a.major, a.minor) < (b.major, b.minor) }

    public var description: String { "\(major).\(minor)" }
}
