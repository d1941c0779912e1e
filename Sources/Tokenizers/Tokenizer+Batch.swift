extension Tokenizer {
    /// The ids of each text, encoded on all cores. The result is that of ``encode(_:addSpecialTokens:splitsSpecialTokens:)`` for each.
    ///
    /// Blocks the calling thread until all are done.
    public func encodeBatch(_ texts: [String], addSpecialTokens: Bool = true, splitsSpecialTokens: Bool = false) -> [[Int]] {
        texts.concurrentMap { encode($0, addSpecialTokens: addSpecialTokens, splitsSpecialTokens: splitsSpecialTokens) }
    }
}
