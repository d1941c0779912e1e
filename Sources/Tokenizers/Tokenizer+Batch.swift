import Dispatch
import Synchronization

extension Tokenizer {
    /// The ids of each text, encoded on all cores. The result is that of ``encode(_:addSpecialTokens:splitsSpecialTokens:)`` for each.
    ///
    /// Blocks the calling thread until all are done.
    public func encodeBatch(_ texts: [String], addSpecialTokens: Bool = true, splitsSpecialTokens: Bool = false) -> [[Int]] {
        let chunkSize = 16
        guard texts.count > chunkSize else {
            return texts.map { encode($0, addSpecialTokens: addSpecialTokens, splitsSpecialTokens: splitsSpecialTokens) }
        }
        let results = Mutex([[Int]](repeating: [], count: texts.count))
        DispatchQueue.concurrentPerform(iterations: (texts.count + chunkSize - 1) / chunkSize) { chunk in
            let range = chunk * chunkSize..<min(texts.count, (chunk + 1) * chunkSize)
            let encoded = texts[range].map { encode($0, addSpecialTokens: addSpecialTokens, splitsSpecialTokens: splitsSpecialTokens) }
            results.withLock { $0.replaceSubrange(range, with: encoded) }
        }
        return results.withLock { $0 }
    }
}
