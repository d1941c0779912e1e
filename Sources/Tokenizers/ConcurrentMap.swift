import Dispatch
import Synchronization

extension RandomAccessCollection where Self: Sendable, Index == Int {
    /// What `transform` makes of each element, in their order, on all processors.
    ///
    /// Blocks the calling thread until all are done.
    package func concurrentMap<Result: Sendable>(_ transform: @Sendable (Element) -> Result) -> [Result] {
        let chunkSize = 16
        guard count > chunkSize else { return map(transform) }
        let chunkCount = (count + chunkSize - 1) / chunkSize
        // A place for each chunk, so that no processor waits for another.
        let places = (0..<chunkCount).map { _ in Place<Result>() }
        DispatchQueue.concurrentPerform(iterations: chunkCount) { chunk in
            let first = startIndex + chunk * chunkSize
            let made = self[first..<Swift.min(endIndex, first + chunkSize)].map(transform)
            places[chunk].results.withLock { $0 = made }
        }
        return places.flatMap { place in place.results.withLock { $0 } }
    }
}

private final class Place<Result: Sendable>: Sendable {
    let results = Mutex<[Result]>([])
}
