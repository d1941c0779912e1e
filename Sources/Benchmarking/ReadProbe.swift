import CUDA
package import Operators

/// How fast a GPU reads its memory, by a kernel that does nothing else.
package struct ReadProbe {
    /// Below Kernels/.
    package static let kernelPath = "Benchmark/ReadRate.cu"
    /// Far more than any L2 holds.
    private static let byteCount = 2 << 30

    private let context: OperatorContext

    package init(_ context: OperatorContext) { self.context = context }

    /// Bytes a second of each run after two for warming up; a GPU with less memory free reads a smaller buffer.
    package func bytesPerSecond(runs: Int = 7) throws -> Spread {
        let free = try context.context.memory().free
        // Whole tiles of 32 KB.
        let byteCount = min(Self.byteCount, free / 2) / 32_768 * 32_768
        let words = try DeviceBuffer(byteCount: byteCount, in: context.context)
        let blocks = 8 * context.device.multiprocessorCount
        let out = try DeviceBuffer(byteCount: 4 * blocks, in: context.context)
        let image = try context.compiler.compile(Self.kernelPath, constants: KernelConstants(), for: context.architecture)
        let kernel = try Module(image, in: context.context).kernel("apus_read_rate")
        let stream = context.stream
        try stream.fill(words.region, with: 0x5A)
        let marks = (try Event(context.context), try Event(context.context))
        var rates: [Double] = []
        for run in 0..<runs + 2 {
            try stream.record(marks.0)
            try kernel.launch(
                LaunchConfiguration(grid: Extent(blocks), block: 256), on: stream, words.region.address, Int64(byteCount / 16), out.region.address)
            try stream.record(marks.1)
            try stream.synchronize()
            if run >= 2 { rates.append(Double(byteCount) / (try marks.1.elapsed(since: marks.0) / .seconds(1))) }
        }
        guard let spread = Spread(rates) else { throw MetricsError(description: "the GPU's events gave no times") }
        return spread
    }
}
