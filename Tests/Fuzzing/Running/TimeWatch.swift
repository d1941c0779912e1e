import Foundation
import Synchronization

/// Ends the process when one input takes for ever, and tells which one: a hang cannot be caught from inside.
final class TimeWatch: Sendable {
    /// Wall-clock seconds. Generous, since machines that fuzz are busy; slowness itself is judged by processor time.
    static let hangSeconds = 60

    /// Exit status of a process that ended itself because of a hang.
    static let hangStatus: Int32 = 86

    private let runCount = Atomic<Int>(0)

    /// Called before each input.
    func tick() { runCount.add(1, ordering: .relaxed) }

    func start() {
        Thread.detachNewThread { [self] in
            var last = -1
            var seconds = 0
            while true {
                Thread.sleep(forTimeInterval: 1)
                let count = runCount.load(ordering: .relaxed)
                seconds = count == last ? seconds + 1 : 0
                last = count
                if seconds >= Self.hangSeconds { exit(Self.hangStatus) }
            }
        }
    }

    /// Processor time that this thread has used.
    static func processorSeconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}
