import Foundation

/// A step of work on a thread of its own that is some results ahead of whoever takes them.
///
/// Sendable because the fields are only touched under the condition, and `produce` is only called by the thread.
package final class Stage<Element: Sendable>: @unchecked Sendable {
    private let condition = NSCondition()
    private var ready: [Result<Element?, any Error>] = []
    private var isAbandoned = false
    private var takers = 0

    /// - Parameters:
    ///   - ahead: most results that wait.
    ///   - produce: makes the next result, nil behind the last; what it captures belongs to it from now on. It may ask whether somebody waits for it.
    package init(ahead: Int = 2, _ produce: @escaping (_ isAwaited: () -> Bool) throws -> Element?) {
        nonisolated(unsafe) let produce = produce
        let thread = Thread { [self] in
            var isOver = false
            while !isOver {
                let result = Result { try produce { self.condition.withLock { self.takers > 0 && self.ready.isEmpty } } }
                isOver = ((try? result.get()) ?? nil) == nil
                condition.withLock {
                    while ready.count >= ahead, !isAbandoned { condition.wait() }
                    isOver = isOver || isAbandoned
                    ready.append(result)
                    condition.broadcast()
                }
            }
        }
        thread.name = "apus.stage"
        thread.stackSize = 4 << 20
        thread.start()
    }

    /// The next result, nil behind the last or when the stage is abandoned; throws what making it threw. Not to be called again after either.
    package func next() throws -> Element? {
        try condition.withLock {
            takers += 1
            defer { takers -= 1 }
            while ready.isEmpty, !isAbandoned { condition.wait() }
            condition.broadcast()
            return ready.isEmpty ? .success(nil) : ready.removeFirst()
        }.get()
    }

    /// Lets the thread end when nobody takes further results.
    package func abandon() {
        condition.withLock {
            isAbandoned = true
            condition.broadcast()
        }
    }
}

/// The last step: takes results on a thread of its own, some behind whoever makes them.
///
/// Sendable for the same reason as ``Stage``.
final class Drain<Element: Sendable>: @unchecked Sendable {
    private let condition = NSCondition()
    private var waiting: [Element] = []
    private var isClosed = false
    private var isOver = false
    private var failure: (any Error)?
    private let behind: Int

    /// - Parameters:
    ///   - behind: most results that wait to be taken.
    ///   - consume: takes one; what it captures belongs to it until ``finish()`` has returned.
    init(behind: Int = 2, _ consume: @escaping (Element) throws -> Void) {
        self.behind = behind
        nonisolated(unsafe) let consume = consume
        let thread = Thread { [self] in
            while let element = take() {
                do {
                    try consume(element)
                } catch {
                    condition.withLock {
                        failure = error
                        isClosed = true
                    }
                }
            }
            condition.withLock {
                isOver = true
                condition.broadcast()
            }
        }
        thread.name = "apus.drain"
        thread.stackSize = 4 << 20
        thread.start()
    }

    private func take() -> Element? {
        condition.withLock {
            while waiting.isEmpty, !isClosed { condition.wait() }
            condition.broadcast()
            return failure == nil && !waiting.isEmpty ? waiting.removeFirst() : nil
        }
    }

    /// Hands a result over, once there is room; throws what taking an earlier one threw.
    func put(_ element: Element) throws {
        try condition.withLock {
            while waiting.count >= behind, failure == nil { condition.wait() }
            if let failure { throw failure }
            waiting.append(element)
            condition.broadcast()
        }
    }

    /// Waits until all results are taken; throws what taking one threw.
    func finish() throws {
        try condition.withLock {
            isClosed = true
            condition.broadcast()
            while !isOver { condition.wait() }
            if let failure { throw failure }
        }
    }
}
