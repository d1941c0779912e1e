package import CUDA
import Foundation

/// A GPU's clock, power and energy while something runs on it.
package struct GPUWatch {
    package struct Reading: Sendable, Equatable {
        /// Of the multiprocessors while it ran, the median of the samples.
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

        func start(_ monitor: DeviceMonitor) {
            Thread.detachNewThread { [self] in
                while !lock.withLock({ isOver }) {
                    if let clock = try? monitor.clocks().multiprocessor { lock.withLock { values.append(Double(clock)) } }
                    usleep(10_000)
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

    /// Nil where the machine has no NVML for this GPU.
    package init?(_ device: Device) {
        guard let monitor = try? DeviceMonitor(device) else { return nil }
        self.monitor = monitor
    }

    /// Watches while `body` runs. The counter of energy moves some times a second, so half a second and more is worth measuring.
    package func watch(_ body: () throws -> Void) throws -> Reading {
        let samples = Samples()
        let clock = ContinuousClock()
        let (start, before) = (clock.now, try monitor.energy())
        samples.start(monitor)
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
