import Foundation
import Synchronization

/// Compilations of what will be asked for, side by side on threads of their own. Whoever asks the same compiler for one of them waits for that one only.
///
/// What is in the cache already is read and let go: under a millisecond each. Dropping it leaves out what has not begun and waits for the rest, since
/// NVRTC cannot be stopped and must not be torn down while it works.
package final class CompilationsAhead: Sendable {
    private final class Work: Sendable {
        let requests: Mutex<ArraySlice<KernelRequest>>
        let threads = DispatchGroup()

        init(_ requests: [KernelRequest]) { self.requests = Mutex(requests[...]) }

        func next() -> KernelRequest? { requests.withLock { $0.popFirst() } }
    }

    private let work: Work

    /// - Parameters:
    ///   - requests: in the order in which they are begun: what takes long, or is needed first, ahead of the rest.
    ///   - threadCount: one less than there are processors when nil: whoever waits for a kernel compiles too.
    package init(_ requests: [KernelRequest], by compiler: Compiler, for architecture: Architecture, threadCount: Int? = nil) {
        let work = Work(requests)
        self.work = work
        let count = min(requests.count, max(1, threadCount ?? ProcessInfo.processInfo.activeProcessorCount - 1))
        for _ in 0..<count {
            work.threads.enter()
            let thread = Thread {
                // A failure comes again, to the one who asks for the kernel.
                while let request = work.next() { _ = try? compiler.compile(request, for: architecture) }
                work.threads.leave()
            }
            thread.name = "apus.compile"
            // The compiler recurses.
            thread.stackSize = 16 << 20
            thread.start()
        }
    }

    /// Waits for all of them.
    package func wait() { work.threads.wait() }

    deinit {
        work.requests.withLock { $0 = [] }
        work.threads.wait()
    }
}
