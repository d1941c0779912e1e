import Dispatch
import Foundation
import Synchronization
package import Transformer

/// Runs batches on one or more executors, each with the next batch made ready while one is computed.
package struct EncodeQueue {
    private let executors: [any ModelExecutor]
    private let head: EncoderHead

    package init(executors: [any ModelExecutor], head: EncoderHead) {
        self.executors = executors
        self.head = head
    }

    /// Computes `count` batches and hands out their vectors on the calling thread, in the order in which they are done.
    ///
    /// - Parameters:
    ///   - make: makes a batch ready; called from several threads where there are several executors.
    /// - Throws: the first error; batches behind it are not started.
    package func run(_ count: Int, make: @escaping @Sendable (Int) throws -> TokenBatch, finish: (Int, [Float]) throws -> Void) throws {
        guard executors.count > 1 else {
            var next = 0
            return try Self.drive(
                executors[0], head: head,
                next: {
                    guard next < count else { return nil }
                    defer { next += 1 }
                    return next
                }, make: make, finish: finish)
        }
        let state = SharedState()
        let signal = DispatchSemaphore(value: 0)
        @Sendable func report(_ result: Result<(Int, [Float]), any Error>) {
            state.done.withLock { $0.append(result) }
            signal.signal()
        }
        let group = DispatchGroup()
        for executor in executors {
            group.enter()
            EngineThread.run {
                defer { group.leave() }
                do {
                    try Self.drive(
                        executor, head: head,
                        next: {
                            let index = state.next.wrappingAdd(1, ordering: .relaxed).oldValue
                            return index < count ? index : nil
                        }, make: make, finish: { report(.success(($0, $1))) })
                } catch {
                    // Nobody starts another batch.
                    state.next.store(count, ordering: .relaxed)
                    report(.failure(error))
                }
            }
        }
        // The threads use the closures: none may be left when this returns.
        defer { group.wait() }
        do {
            for _ in 0..<count {
                signal.wait()
                guard let result = state.done.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) else { continue }
                let (index, vectors) = try result.get()
                try finish(index, vectors)
            }
        } catch {
            state.next.store(count, ordering: .relaxed)
            throw error
        }
    }

    private final class SharedState: Sendable {
        let next = Atomic(0)
        let done = Mutex<[Result<(Int, [Float]), any Error>]>([])
    }

    /// Runs batches on one executor, as many ahead as it likes.
    private static func drive(
        _ executor: any ModelExecutor, head: EncoderHead, next: () -> Int?, make: (Int) throws -> TokenBatch,
        finish: (Int, [Float]) throws -> Void
    ) throws {
        var waiting: [(index: Int, task: EncodingTask)] = []
        while true {
            let index = next()
            if let index { waiting.append((index, try executor.startEncoding(make(index), head: head))) }
            guard let first = waiting.first else { return }
            if index == nil || waiting.count >= executor.batchesInFlight {
                waiting.removeFirst()
                try finish(first.index, first.task.wait())
            }
        }
    }
}
