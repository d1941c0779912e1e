import CUDA
import Foundation
import Testing

@Suite("Driver: found, refused, explained")
struct DriverTests {
    @Test("a driver that is named but not there says where it was looked for")
    func missingLibrary() throws {
        let error = try #require(errorOf { _ = try Driver(environment: Environment(["APUS_CUDA_DRIVER": "/nowhere/libcuda.so.1"])) })
        #expect(error.code == .libraryMissing)
        #expect(error.message.contains("APUS_CUDA_DRIVER=/nowhere/libcuda.so.1"))
        #expect(error.message.contains("--device cpu"))
        #expect(error.detail?.contains("/nowhere/libcuda.so.1") == true)
    }

    @Test("a library that is not CUDA's is told from a driver")
    func otherLibrary() throws {
        let error = try #require(errorOf { _ = try Driver(environment: Environment(["APUS_CUDA_DRIVER": "libc.so.6"])) })
        #expect(error.code == .driverTooOld)
        #expect(error.message.contains("lacks cuInit"))
        #expect(error.detail?.contains("cuLaunchKernelEx") == true)
    }

    @Test("auto takes the CPU where there is no GPU, cpu always, a number never")
    func selectionWithoutGPU() throws {
        #expect(try DeviceSelection.cpu.resolve() == nil)
        guard (try? Driver.shared()) == nil else { return }
        #expect(try DeviceSelection.automatic.resolve() == nil)
        let error = try #require(errorOf { _ = try DeviceSelection.cuda(0).resolve() })
        #expect(error.message.contains("libcuda"))
        #expect(error.message.contains("tried libcuda.so.1, libcuda.so") || error.code != .libraryMissing)
    }

    @Test("device names are read strictly")
    func selectionNames() throws {
        #expect(try DeviceSelection("auto") == .automatic)
        #expect(try DeviceSelection("cpu") == .cpu)
        #expect(try DeviceSelection("cuda") == .cuda(0))
        #expect(try DeviceSelection("cuda:7") == .cuda(7))
        for name in ["", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:+1", "cuda: 1", "cuda:1 ", "cuda:1x", "cuda:99999999999999999999", "cuda:2000"] {
            #expect(errorOf { _ = try DeviceSelection(name) }?.code == .deviceName, "\(name)")
        }
        for selection in [DeviceSelection.automatic, .cpu, .cuda(0), .cuda(3)] {
            #expect(try DeviceSelection(selection.description) == selection)
        }
    }

    @Test("an old driver is told its version and the one needed", .enabled(if: FakeDriver.isAvailable, FakeDriver.reason))
    func oldDriver() throws {
        let error = try #require(errorOf { _ = try FakeDriver.driver(["FAKE_VERSION": 11080]) })
        #expect(error.code == .driverTooOld)
        #expect(error.message.contains("CUDA 11.8") && error.message.contains("12.0") && error.message.contains("525"))
    }

    @Test("a driver that lacks a function is told which", .enabled(if: FakeDriver.isAvailable, FakeDriver.reason))
    func missingSymbol() throws {
        let error = try #require(errorOf { _ = try FakeDriver.driver(["FAKE_NO_CLUSTERS": 1]) })
        #expect(error.code == .driverTooOld)
        #expect(error.message.contains("lacks cuOccupancyMaxActiveClusters."))
    }

    @Test("what cuInit says becomes advice", .enabled(if: FakeDriver.isAvailable, FakeDriver.reason))
    func failedInit() throws {
        let none = try #require(errorOf { _ = try FakeDriver.driver(["FAKE_INIT": 100]) })
        #expect(none.code == .noDevice)
        #expect(none.call == "cuInit" && none.status == 100)
        #expect(none.message.contains("CUDA_ERROR_NO_DEVICE (100)") && none.message.contains("nvidia-smi"))
        #expect(errorOf { _ = try FakeDriver.driver(["FAKE_INIT": 803]) }?.code == .driverTooOld)
        #expect(errorOf { _ = try FakeDriver.driver(["FAKE_INIT": 34]) }?.code == .libraryMissing)
        #expect(errorOf { _ = try FakeDriver.driver(["FAKE_INIT": 999]) }?.message.contains("dmesg") == true)
    }

    @Test("a GPU that is not there, or too old, is refused by name", .enabled(if: FakeDriver.isAvailable, FakeDriver.reason))
    func devices() throws {
        let driver = try FakeDriver.driver(["FAKE_DEVICES": 2])
        #expect(try Device.all(driver: driver).map(\.ordinal) == [0, 1])
        #expect(try DeviceSelection.resolve(1, driver: driver).ordinal == 1)
        let absent = try #require(errorOf { _ = try DeviceSelection.resolve(2, driver: driver) })
        #expect(absent.code == .noDevice && absent.message.contains("cuda:2") && absent.message.contains("cuda:0 to cuda:1"))

        let empty = try FakeDriver.driver(["FAKE_DEVICES": 0])
        #expect(DeviceSelection.firstSupported(driver: empty) == nil)
        #expect(errorOf { _ = try DeviceSelection.resolve(0, driver: empty) }?.message.contains("shows no GPU") == true)

        let old = try FakeDriver.driver(["FAKE_MAJOR": 7, "FAKE_MINOR": 5])
        #expect(DeviceSelection.firstSupported(driver: old) == nil)
        #expect(try Device.all(driver: old).first?.isSupported == false)
        for error in [errorOf { _ = try DeviceSelection.resolve(0, driver: old) }, errorOf { _ = try Context(Device(ordinal: 0, driver: old)) }] {
            #expect(error?.code == .deviceTooOld)
            #expect(error?.message.contains("Fake H200 (cuda:0) has compute capability 7.5, but 8.0") == true)
        }
    }

    @Test("properties and peaks", .enabled(if: FakeDriver.isAvailable, FakeDriver.reason))
    func properties() throws {
        let device = try Device(ordinal: 0, driver: FakeDriver.driver())
        #expect(device.description == "Fake H200 (cuda:0)")
        #expect(device.uuid == "GPU-00102030-4050-6070-8090-a0b0c0d0e0f0")
        #expect(device.computeCapability == ComputeCapability(9, 0))
        #expect(device.multiprocessorCount == 132 && device.l2ByteCount == 60 << 20)
        #expect(device.sharedByteCountPerBlock == 227 << 10)
        // The data sheet of an H200: 989.4 and 1,978.9 TFLOP/s, 66.9 in fp32, 4.8 to 4.9 TB/s.
        let peaks = try #require(device.peaks)
        #expect(abs(peaks.bf16 - 989.4e12) < 0.1e12)
        #expect(abs((peaks.fp8 ?? 0) - 1978.9e12) < 0.1e12)
        #expect(abs(peaks.fp32 - 66.9e12) < 0.1e12)
        #expect(abs(peaks.bandwidth - 4.917e12) < 0.001e12)
        #expect(device.peaks(clockKilohertz: 1_980_000).map { abs($0.bf16 - 1070.5e12) < 0.1e12 } == true)
        #expect(device.peaks(clockKilohertz: 0) == nil)

        let ampere = try Device(ordinal: 0, driver: FakeDriver.driver(["FAKE_MAJOR": 8, "FAKE_MINOR": 0]))
        #expect(ampere.peaks?.fp8 == nil && ampere.peaks?.clockKilohertz == 1_410_000)
        let unknown = try Device(ordinal: 0, driver: FakeDriver.driver(["FAKE_MAJOR": 42]))
        #expect(unknown.peaks == nil)
    }
}
