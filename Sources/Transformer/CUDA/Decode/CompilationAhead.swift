import CUDA
import Foundation
import Synchronization

/// A compilation on a thread of its own, while the one who needs it is still busy with something else.
final class CompilationAhead: Sendable {
    private let result = Mutex<Result<CompiledKernels, any Error>?>(nil)
    private let isOver = DispatchSemaphore(value: 0)

    init(_ compile: @escaping @Sendable () throws -> CompiledKernels) {
        let thread = Thread { [self] in
            let made = Result { try compile() }
            result.withLock { $0 = made }
            isOver.signal()
        }
        // The compiler recurses.
        thread.stackSize = 16 << 20
        thread.start()
    }

    /// Waits for it.
    func kernels() throws -> CompiledKernels {
        isOver.wait()
        isOver.signal()
        guard let made = result.withLock({ $0 }) else { throw TransformerError(.invalidSpec, "a compilation ended without a result") }
        return try made.get()
    }
}
