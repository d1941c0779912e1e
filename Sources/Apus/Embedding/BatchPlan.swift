/// Sorts texts by length and packs them into batches of a bounded number of tokens, so that no padding and no over-large batch arises.
package struct BatchPlan: Sendable {
    /// Indices of the texts in each batch, longest texts first.
    package let batches: [[Int]]

    /// - Parameters:
    ///   - lengths: tokens of each text.
    ///   - tokenBudget: most tokens in a batch; a text longer than that is a batch of its own.
    package init(lengths: [Int], tokenBudget: Int) {
        var batches: [[Int]] = []
        var batch: [Int] = []
        var tokens = 0
        for index in lengths.indices.sorted(by: { (lengths[$1], $0) < (lengths[$0], $1) }) {
            if !batch.isEmpty, tokens + lengths[index] > tokenBudget {
                batches.append(batch)
                batch = []
                tokens = 0
            }
            batch.append(index)
            tokens += lengths[index]
        }
        if !batch.isEmpty { batches.append(batch) }
        self.batches = batches
    }
}
