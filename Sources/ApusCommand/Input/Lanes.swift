import Foundation

/// Work on what a stage makes ready, some of it at the same time, each on a thread of its own; the results come in the stage's order.
///
/// Sendable because the fields are only touched under the condition.
package final class Lanes<Input: Sendable, Output: Sendable>: @unchecked Sendable {
    private let stage: Stage<Input>
    private let compute: @Sendable (Input) throws -> Output
    /// Held by the lane that takes from the stage.
    private let turn = NSLock()
    private let condition = NSCondition()
    private var results: [Int: Result<Output?, any Error>] = [:]
    private var (takenCount, handedOutCount) = (0, 0)
    private var openLanes: Int
    /// Nothing more is taken: the stage is at its end, something failed, or nobody wants further results.
    private var isOver = false
    private var isStopped = false

    /// Computes all that comes from a stage and hands out each result as soon as it and all ahead of it are there, whatever the stage does meanwhile.
    ///
    /// - Parameters:
    ///   - count: how many are computed at the same time. A result that was not handed out yet counts too.
    ///   - finish: gets the results in order, on the calling thread.
    /// - Throws: what the stage, `compute` or `finish` threw, after the results ahead of it were handed out. No `compute` runs any more when this
    ///   returns, and the stage is abandoned.
    package static func run(
        _ stage: Stage<Input>, count: Int, compute: @escaping @Sendable (Input) throws -> Output, finish: (Output) throws -> Void
    ) throws {
        let lanes = Lanes(stage, count: count, compute: compute)
        defer { lanes.stop() }
        while let output = try lanes.takeResult() { try finish(output) }
    }

    private init(_ stage: Stage<Input>, count: Int, compute: @escaping @Sendable (Input) throws -> Output) {
        self.stage = stage
        self.compute = compute
        openLanes = count
        for _ in 0..<count {
            let thread = Thread { [self] in
                while computeNext() {}
                condition.withLock {
                    openLanes -= 1
                    condition.broadcast()
                }
            }
            thread.name = "apus.lane"
            thread.stackSize = 4 << 20
            thread.start()
        }
    }

    /// Takes, computes and waits until the result was handed out; false when nothing is left to take.
    private func computeNext() -> Bool {
        guard let (index, input) = take() else { return false }
        let result = input.flatMap { input in Result { try input.map(compute) } }
        condition.withLock {
            results[index] = result
            if case .failure = result { isOver = true }
            condition.broadcast()
            while handedOutCount <= index, !isStopped { condition.wait() }
        }
        return true
    }

    private func take() -> (index: Int, input: Result<Input?, any Error>)? {
        turn.withLock {
            if condition.withLock({ isOver }) { return nil }
            let input = Result { try stage.next() }
            return condition.withLock {
                if ((try? input.get()) ?? nil) == nil { isOver = true }
                defer { takenCount += 1 }
                return (takenCount, input)
            }
        }
    }

    private func takeResult() throws -> Output? {
        try condition.withLock {
            while results[handedOutCount] == nil { condition.wait() }
            defer {
                handedOutCount += 1
                condition.broadcast()
            }
            return results.removeValue(forKey: handedOutCount)
        }?.get()
    }

    private func stop() {
        condition.withLock {
            (isOver, isStopped) = (true, true)
            condition.broadcast()
        }
        stage.abandon()
        condition.withLock {
            while openLanes > 0 { condition.wait() }
        }
    }
}
