import Foundation
import Synchronization

/// Runs long computations off the cooperative thread pool, which they would block.
enum EngineThread {
    static func run(_ body: @escaping @Sendable () -> Void) {
        let thread = Thread(block: body)
        thread.name = "apus.engine"
        thread.stackSize = 4 << 20
        thread.start()
    }
}

/// A flag that one thread raises and another reads.
package final class StopFlag: Sendable {
    private let flag = Atomic(false)

    package init() {}

    package func set() { flag.store(true, ordering: .releasing) }
    package func clear() { flag.store(false, ordering: .releasing) }
    package var isSet: Bool { flag.load(ordering: .acquiring) }
}
