import CUDA
import Foundation
package import Operators

/// A GPU's clock, power and energy while something runs on it.
package struct GPUWatch {
    package struct Reading: Sendable, Equatable {
        /// Of a multiprocessor while it ran, counted by a kernel of one thread; the median of the samples.
        package let megahertz: Double
        /// Drawn in all of that time, in joules, by the GPU's own counter.
        package let joules: Double
        package let seconds: Double

        package var watts: Double { seconds > 0 ? joules / seconds : 0 }

        package init(megahertz: Double, joules: Double, seconds: Double) {
            self.megahertz = megahertz
            self.joules = joules
            self.seconds = seconds
        }
    }

    /// Samples of a thread of its own.
    private final class Samples: @unchecked Sendable {
        private let lock = NSLock()
        private var values: [Double] = []
        private var isOver = false
        private let ended = DispatchSemaphore(value: 0)

        func start(_ clock: ClockProbe) {
            Thread.detachNewThread { [self] in
                while !lock.withLock({ isOver }) {
                    if let megahertz = try? clock.megahertz() { lock.withLock { values.append(megahertz) } }
                    usleep(20_000)
                }
                ended.signal()
            }
        }

        func end() -> [Double] {
            lock.withLock { isOver = true }
            ended.wait()
            return lock.withLock { values }
        }
    }

    private let monitor: DeviceMonitor
    private let clock: ClockProbe

    /// Nil where the machine has no NVML for this GPU.
    package init?(_ context: OperatorContext) throws {
        guard let monitor = try? DeviceMonitor(context.device) else { return nil }
        self.monitor = monitor
        clock = try ClockProbe(context)
    }

    /// Watches while `body` runs. The counter of energy moves some times a second, so half a second and more is worth measuring.
    package func watch(_ body: () throws -> Void) throws -> Reading {
        let samples = Samples()
        let clock = ContinuousClock()
        let (start, before) = (clock.now, try monitor.energy())
        samples.start(self.clock)
        do {
            try body()
        } catch {
            _ = samples.end()
            throw error
        }
        let clocks = samples.end()
        return Reading(
            megahertz: Spread(clocks)?.median ?? 0, joules: try monitor.energy() - before, seconds: (clock.now - start) / .seconds(1))
    }
}

/// Counts a multiprocessor's clocks against the GPU's timer, in a stream of its own beside what is measured.
private final class ClockProbe: Sendable {
    private let kernel: Kernel
    private let stream: CUDA.Stream
    private let out: DeviceBuffer  // clocks, nanoseconds

    init(_ context: OperatorContext) throws {
        let image = try context.compiler.compile("Benchmark/Clock.cu", constants: KernelConstants(), for: context.architecture)
        kernel = try Module(image, in: context.context).kernel("apus_clock")
        stream = try CUDA.Stream(context.context)
        out = try DeviceBuffer(byteCount: 16, in: context.context)
    }

    func megahertz() throws -> Double {
        try kernel.launch(LaunchConfiguration(grid: 1, block: 1), on: stream, out.region.address, UInt64(2_000_000))
        let counted = try stream.download(UInt64.self, from: out.region)
        return counted[1] > 0 ? 1000 * Double(counted[0]) / Double(counted[1]) : 0
    }
}
