import CUDA
import Testing

@Suite("Memory, streams and launches over a stand-in driver", .enabled(if: FakeDriver.isAvailable, FakeDriver.reason))
struct WorkTests {
    // MARK: Memory

    @Test("values come back as they went", arguments: [0, 1, 31, 33, 127, 513])
    func roundTrip(count: Int) throws {
        let stream = try Stream(FakeDriver.context())
        let buffer = try DeviceBuffer(byteCount: count * 4, on: stream)
        let other = try DeviceBuffer(byteCount: count * 4, in: stream.context)
        let values = (0..<count).map { Float($0) * 0.5 }
        try stream.upload(values, to: buffer.region)
        try stream.copy(buffer.region, to: other.region)
        #expect(try stream.download(Float.self, from: other.region) == values)
        try stream.fill(other.region, withWord: 0x3F80_0000)
        #expect(try stream.download(Float.self, from: other.region) == [Float](repeating: 1, count: count))
        try stream.fill(other.region)
        #expect(try stream.download(UInt8.self, from: other.region) == [UInt8](repeating: 0, count: count * 4))
    }

    @Test("pinned memory: bytes, words and copies both ways")
    func pinned() throws {
        let stream = try Stream(FakeDriver.context())
        let pinned = try PinnedBuffer(byteCount: 64, in: stream.context)
        try pinned.store([UInt32](0..<16))
        #expect(try pinned.loadAcquiring(at: 20) == 5)
        try pinned.storeReleasing(99, at: 20)
        #expect(try pinned.load(UInt32.self, count: 2, at: 16) == [4, 99])
        try pinned.storeReleasing64(1 << 40, at: 8)
        #expect(try pinned.loadAcquiring64(at: 8) == 1 << 40)
        let buffer = try DeviceBuffer(byteCount: 16, on: stream)
        try stream.upload(pinned, at: 16, to: buffer.region)
        #expect(try stream.download(UInt32.self, from: buffer.region) == [4, 99, 6, 7])
        try stream.fill(buffer.region, with: 0xFF)
        try stream.download(buffer.region, to: pinned, at: 48)
        #expect(try pinned.load(UInt32.self, count: 4, at: 48) == [UInt32](repeating: .max, count: 4))
        #expect(pinned.withUnsafeBytes { $0.count } == 64)

        for offset in [-4, 2, 61, 64, Int.max] {
            #expect(errorOf { _ = try pinned.loadAcquiring(at: offset) }?.code == .invalidArgument, "\(offset)")
        }
        #expect(errorOf { _ = try pinned.load(UInt32.self, count: 17) }?.code == .invalidArgument)
        #expect(errorOf { _ = try pinned.load(UInt32.self, count: Int.max) }?.code == .invalidArgument)
        #expect(errorOf { try pinned.store([UInt32](0..<16), at: 4) }?.code == .invalidArgument)
        #expect(errorOf { _ = try PinnedBuffer(byteCount: -1, in: stream.context) }?.code == .invalidArgument)
        let error = try #require(errorOf { _ = try PinnedBuffer(byteCount: 2 << 20, in: stream.context) })
        #expect(error.code == .outOfMemory && error.message.contains("2.0 MiB"))
    }

    @Test("sizes that do not fit are refused before the driver sees them")
    func sizes() throws {
        let stream = try Stream(FakeDriver.context())
        let buffer = try DeviceBuffer(byteCount: 12, on: stream)
        #expect(
            errorOf { try stream.upload([Float](repeating: 0, count: 4), to: buffer.region) }?.message.contains("16 bytes into a region of 12")
                == true)
        #expect(errorOf { _ = try stream.download(Double.self, from: buffer.region) }?.code == .invalidArgument)
        #expect(errorOf { try stream.fill(try buffer.region.slice(at: 2, byteCount: 4), withWord: 0) }?.code == .invalidArgument)
        #expect(try buffer.region.slice(at: 4).byteCount == 8)
        #expect(try buffer.region.slice(at: 12).byteCount == 0)
        for (offset, length) in [(-1, 1), (13, 0), (4, 9), (0, -1), (Int.max, 1), (Int.min, 1), (1, Int.max)] {
            #expect(errorOf { _ = try buffer.region.slice(at: offset, byteCount: length) }?.code == .invalidArgument, "\(offset) \(length)")
        }
        #expect(errorOf { _ = try DeviceBuffer(byteCount: -1, on: stream) }?.code == .invalidArgument)
    }

    @Test("out of memory names what was needed and what was free; freed memory comes back")
    func outOfMemory() throws {
        let context = try FakeDriver.context()
        let stream = try Stream(context)
        do {
            let first = try DeviceBuffer(byteCount: 768 << 10, on: stream)
            #expect(try context.memory().free == 256 << 10)
            for error in [
                errorOf { _ = try DeviceBuffer(byteCount: 512 << 10, on: stream) },
                errorOf { _ = try DeviceBuffer(byteCount: 512 << 10, in: context) },
            ] {
                #expect(error?.code == .outOfMemory)
                #expect(error?.message.contains("Fake H200 (cuda:0) cannot give 512.0 KiB of memory: 256.0 KiB of 1.0 MiB are free") == true)
            }
            #expect(first.byteCount == 768 << 10)
        }
        // The pool holds what was freed; an allocation that needs it gets it all the same, in stream order or not.
        #expect(try context.memory().free == 256 << 10)
        do {
            let again = try DeviceBuffer(byteCount: 1 << 20, in: context)
            #expect(again.address.bits != 0)
        }
        #expect(try context.memory().free == 1 << 20)
        do {
            let again = try DeviceBuffer(byteCount: 1 << 20, on: stream)
            #expect(again.address.bits != 0)
        }
        try context.trimMemory()
        #expect(try context.memory().free == 1 << 20)
    }

    // MARK: Launches

    @Test("parameters reach the kernel, and are held against its own")
    func launch() throws {
        let context = try FakeDriver.context()
        let stream = try Stream(context)
        let kernel = try FakeDriver.kernel(in: context)
        let buffer = try DeviceBuffer(byteCount: 4, on: stream)
        let one = LaunchConfiguration(grid: 1, block: 32)
        try kernel.launch(one, on: stream, buffer.address, Int32(-7))
        #expect(try stream.download(Int32.self, from: buffer.region) == [-7])
        try kernel.launch(one, on: stream, buffer.address, Float(2))
        #expect(try stream.download(Float.self, from: buffer.region) == [2])

        #expect(errorOf { try kernel.launch(one, on: stream, buffer.address) }?.message.contains("takes 2 parameters, not 1") == true)
        #expect(errorOf { try kernel.launch(one, on: stream, buffer.address, Int64(1)) }?.message.contains("parameter 1 has 4 bytes, not 8") == true)
        #expect(errorOf { try kernel.launch(one, on: stream) }?.code == .launchRefused)
    }

    @Test("a launch that cannot be is refused with the numbers")
    func limits() throws {
        let context = try FakeDriver.context()
        let stream = try Stream(context)
        let kernel = try FakeDriver.kernel(in: context)
        let buffer = try DeviceBuffer(byteCount: 4, on: stream)
        func refusal(_ configuration: LaunchConfiguration) -> String {
            let error = errorOf { try kernel.launch(configuration, on: stream, buffer.address, Int32(0)) }
            return error?.code == .launchRefused ? error?.message ?? "" : "not refused: \(String(describing: error))"
        }
        let cases: [(LaunchConfiguration, String)] = [
            (LaunchConfiguration(grid: 0, block: 32), "is empty"),
            (LaunchConfiguration(grid: 1, block: Extent(32, 0)), "is empty"),
            (LaunchConfiguration(grid: Extent(1, 65536), block: 32), "2147483647 x 65535 x 65535"),
            (LaunchConfiguration(grid: 1, block: 1025), "beyond the 1024"),
            (LaunchConfiguration(grid: 1, block: Extent(1, 1, 65)), "beyond the 1024 (1024 x 1024 x 64)"),
            (LaunchConfiguration(grid: 1, block: Extent(Int.max, 2)), "beyond the 1024"),
            (LaunchConfiguration(grid: 1, block: 512), "at most 384 threads a block (168 registers a thread), not 512"),
            (LaunchConfiguration(grid: 1, block: 32, sharedByteCount: 232_448), "1024 + 232448 bytes of shared memory a block"),
            (LaunchConfiguration(grid: 1, block: 32, sharedByteCount: -1), "shared memory"),
            (LaunchConfiguration(grid: 1, block: 32, sharedByteCount: Int.max), "shared memory"),
            (LaunchConfiguration(grid: 3, block: 32, cluster: 2), "does not divide into clusters of 2"),
            (LaunchConfiguration(grid: 32, block: 32, cluster: 32), "beyond the 16"),
            (
                LaunchConfiguration(grid: 133, block: 256, residency: .cooperative),
                "its 133 blocks must all be resident, but Fake H200 (cuda:0) holds 132"
            ),
            (LaunchConfiguration(grid: 265, block: 128, residency: .required), "holds 264: 132 multiprocessors with 2 each"),
            (LaunchConfiguration(grid: 128, block: 128, cluster: 8, residency: .cooperative), "holds 120: 15 clusters of 8 blocks"),
        ]
        for (configuration, text) in cases {
            let message = refusal(configuration)
            #expect(message.contains("kernel 'store'") && message.contains(text), "\(message)")
        }
        let accepted = [
            LaunchConfiguration(grid: 132, block: 256, residency: .cooperative), LaunchConfiguration(grid: 264, block: 128, residency: .required),
            LaunchConfiguration(grid: 120, block: 128, cluster: 8, residency: .cooperative), LaunchConfiguration(grid: 1024, block: 128, cluster: 16),
            LaunchConfiguration(grid: 1, block: 32, sharedByteCount: 231_424, isProgrammatic: true),
        ]
        for configuration in accepted { try kernel.launch(configuration, on: stream, buffer.address, Int32(1)) }

        let ampere = try FakeDriver.context(["FAKE_MAJOR": 8])
        let error = errorOf {
            try FakeDriver.kernel(in: ampere).launch(
                LaunchConfiguration(grid: 2, block: 32, cluster: 2), on: Stream(ampere), DeviceAddress(bits: 0), Int32(0))
        }
        #expect(error?.message.contains("clusters, which need compute capability 9.0") == true)
    }

    @Test("a launch that fails says so, and a fault stays")
    func faults() throws {
        let refusing = try FakeDriver.context(["FAKE_LAUNCH": 701])
        let one = LaunchConfiguration(grid: 1, block: 32)
        let launch = try #require(
            errorOf { try FakeDriver.kernel(in: refusing).launch(one, on: Stream(refusing), DeviceAddress(bits: 0), Int32(0)) })
        #expect(launch.call == "cuLaunchKernelEx" && launch.status == 701)
        #expect(launch.message.contains("kernel 'store': cuLaunchKernelEx failed with CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES (701)"))

        let context = try FakeDriver.context(["FAKE_FAULT": 700])
        let stream = try Stream(context)
        let kernel = try FakeDriver.kernel(in: context)
        try kernel.launch(one, on: stream, DeviceAddress(bits: 0), Int32(0))
        let fault = try #require(errorOf { try stream.synchronize() })
        #expect(fault.code == .kernelFault && fault.isFatalToContext)
        #expect(fault.message.contains("an earlier kernel, at the latest 'store': cuStreamSynchronize failed with CUDA_ERROR_ILLEGAL_ADDRESS (700)"))
        #expect(fault.message.contains("an illegal memory access was encountered") && fault.message.contains("must be started again"))
        #expect(errorOf { _ = try DeviceBuffer(byteCount: 4, on: stream) }?.code == .kernelFault)
        #expect(errorOf { _ = try context.memory() }?.code == .kernelFault)
        #expect(errorOf { try kernel.launch(one, on: stream, DeviceAddress(bits: 0), Int32(0)) }?.message.contains("after an earlier fault") == true)

        let synchronous = try FakeDriver.context(["FAKE_FAULT": 700], synchronous: true)
        let named = errorOf { try FakeDriver.kernel(in: synchronous).launch(one, on: Stream(synchronous), DeviceAddress(bits: 0), Int32(0)) }
        #expect(named?.message.hasPrefix("kernel 'store': cuStreamSynchronize failed") == true)
    }

    @Test("modules: what is no image, and names that are not there")
    func modules() throws {
        let context = try FakeDriver.context()
        #expect(errorOf { _ = try Module(cubin: [], title: "A.cu", in: context) }?.message.contains("A.cu is no compiled kernel") == true)
        #expect(errorOf { _ = try Module(cubin: [UInt8](repeating: 1, count: 100), title: "A.cu", in: context) }?.code == .invalidArgument)
        let module = try FakeDriver.kernel(in: context).module
        #expect(errorOf { _ = try module.kernel("absent") }?.message.contains("kernel 'absent' of Fake.cu") == true)
        #expect(errorOf { _ = try module.global("absent") }?.status == 500)
        #expect(try module.global("table").byteCount == 16)
    }

    // MARK: Events and graphs

    @Test("events")
    func events() throws {
        let stream = try Stream(FakeDriver.context())
        let start = try Event(stream.context)
        let end = try Event(stream.context)
        try stream.record(start)
        try stream.record(end)
        try stream.wait(for: start)
        #expect(try end.elapsed(since: start) == .microseconds(1500))
        #expect(try end.isComplete() == false)
        #expect(errorOf { _ = try end.elapsed(since: Event(stream.context, timing: false)) }?.code == .invalidArgument)
    }

    @Test("captures end whatever happens inside, and refuse memory that will be gone")
    func capture() throws {
        struct Planned: Error {}
        let stream = try Stream(FakeDriver.context())
        let buffer = try DeviceBuffer(byteCount: 4, on: stream)
        let graph = try stream.capture { try stream.fill(buffer.region) }
        #expect(graph.nodeCount == 3)
        let executable = try graph.instantiate()
        try executable.upload(on: stream)
        try executable.launch(on: stream)
        #expect(errorOf { try executable.update(to: graph) }?.status == 910)

        #expect(throws: Planned.self) { try stream.capture { throw Planned() } }
        #expect(try stream.isCapturing() == false)
        let upload = errorOf { _ = try stream.capture { try stream.upload([1 as Int32], to: buffer.region) } }
        #expect(upload?.message.contains("PinnedBuffer") == true)
        let download = errorOf { _ = try stream.capture { _ = try stream.download(Int32.self, from: buffer.region) } }
        #expect(download?.code == .invalidArgument)
        let wait = errorOf { _ = try stream.capture { try stream.synchronize() } }
        #expect(wait?.message.contains("inside a stream capture") == true)
        #expect(try stream.isCapturing() == false)
    }

    // MARK: Tensor maps

    @Test("tensor maps: one that is right, and every rule broken once")
    func tensorMaps() throws {
        let context = try FakeDriver.context()
        let address = DeviceAddress(bits: 4096)
        let map = try TensorMap(
            address, element: .bfloat16, sizes: [640, 100], strides: [1280], box: [64, 128], swizzle: .bytes128, context: context)
        let words = withUnsafeBytes(of: map) { Array($0.bindMemory(to: UInt64.self)) }
        #expect(words.count == 16)
        #expect(words.prefix(8) == [9, 2, 4096, 640, 1280, 64, 3, 2])
        _ = try TensorMap(address, element: .float32, sizes: [4], strides: [], box: [4], context: context)

        func refusal(
            _ address: UInt64 = 4096, _ sizes: [Int] = [640, 100], _ strides: [Int] = [1280], _ box: [Int] = [64, 128],
            _ swizzle: TensorMap.Swizzle = .bytes128
        ) -> String {
            errorOf { try TensorMap.check(DeviceAddress(bits: address), .bfloat16, sizes, strides, box, swizzle) }?.message ?? "none"
        }
        #expect(refusal() == "none")
        #expect(refusal(4098).contains("not a multiple of 16 bytes"))
        #expect(refusal(0).contains("address"))
        #expect(refusal(4096, [], []).contains("0 dimensions"))
        #expect(refusal(4096, [1, 2, 3, 4, 5, 6], [16, 16, 16, 16, 16]).contains("6 dimensions"))
        #expect(refusal(4096, [640, 0]).contains("size 0 of dimension 1"))
        #expect(refusal(4096, [640, 100], []).contains("expected 1"))
        #expect(refusal(4096, [640, 100], [1282]).contains("stride 1282"))
        #expect(refusal(4096, [640, 100], [1280], [64]).contains("box of 1 dimensions"))
        #expect(refusal(4096, [640, 100], [1280], [64, 257]).contains("box extent 257"))
        #expect(refusal(4096, [640, 100], [1280], [60, 128]).contains("120 bytes"))
        #expect(refusal(4096, [640, 100], [1280], [128, 128]).contains("wider than the swizzle's 128"))

        let ampere = try FakeDriver.context(["FAKE_MAJOR": 8])
        let error = errorOf {
            _ = try TensorMap(address, element: .bfloat16, sizes: [640, 100], strides: [1280], box: [64, 128], context: ampere)
        }
        #expect(error?.message.contains("compute capability 9.0") == true)
    }
}
