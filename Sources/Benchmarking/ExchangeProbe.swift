import CUDA
package import Operators
import Transformer

/// What an exchange between the blocks of the resident decode kernel costs when nothing else goes on.
package struct ExchangeProbe {
    private let context: OperatorContext
    private let blocks: Int

    /// - Parameter blocks: of the resident kernel.
    package init(_ context: OperatorContext, blocks: Int) {
        self.context = context
        self.blocks = blocks
    }

    /// Seconds an exchange, of each run after two for warming up.
    package func seconds(runs: Int = 7, turns: Int = 500) throws -> Spread {
        let area = try DeviceBuffer(byteCount: 128 + 2 * 16 * blocks, in: context.context)
        let out = try DeviceBuffer(byteCount: 8, in: context.context)
        let image = try context.compiler.compile("Benchmark/ExchangeRate.cu", constants: KernelConstants(), for: context.architecture)
        let kernel = try Module(image, in: context.context).kernel("apus_exchange_rate")
        let stream = context.stream
        let marks = (try Event(context.context), try Event(context.context))
        var times: [Double] = []
        for run in 0..<runs + 2 {
            try stream.fill(area.region)
            try stream.record(marks.0)
            try kernel.launch(
                LaunchConfiguration(grid: Extent(blocks), block: 256, residency: .cooperative), on: stream, area.region.address, out.region.address,
                Int32(turns))
            try stream.record(marks.1)
            guard try stream.download(UInt32.self, from: out.region)[0] == UInt32(turns) else {
                throw CUDAError(.kernelFault, "an exchange between \(blocks) blocks was given up")
            }
            if run >= 2 { times.append(try marks.1.elapsed(since: marks.0) / .seconds(1) / Double(turns)) }
        }
        guard let spread = Spread(times) else { throw MetricsError(description: "the GPU's events gave no times") }
        return spread
    }
}
