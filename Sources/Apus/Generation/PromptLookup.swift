/// Guesses how a text goes on from where its latest tokens stood before: prompt lookup, as transformers' `prompt_lookup_num_tokens` has it.
///
/// What followed the last earlier occurrence of the latest three tokens, or else of the latest two, is guessed to follow again. A text that goes round in
/// a circle shorter than the guess is taken round once more. A token costs two look-ups, a guess none.
package struct PromptLookup: Sendable {
    private struct Run: Hashable {
        let first: Int
        let second: Int
        /// -1 in runs of two.
        let third: Int
    }

    private var tokens: [Int] = []
    /// Where a run of tokens was followed by something last: the index behind it.
    private var ends: [Run: Int] = [:]
    /// Behind the last earlier occurrence of the latest tokens; nil where there is none.
    private var match: Int?

    package init(_ tokens: some Sequence<Int> = []) {
        for token in tokens { append(token) }
    }

    package mutating func append(_ token: Int) {
        tokens.append(token)
        match = nil
        let count = tokens.count
        // The longer run last, since it goes before.
        for length in 2...3 where count >= length {
            let run = Run(first: tokens[count - length], second: tokens[count - length + 1], third: length == 3 ? token : -1)
            match = ends[run] ?? match
            ends[run] = count
        }
    }

    /// At most `count` tokens that may follow; none where the latest two have not come up before.
    package func guesses(_ count: Int) -> [Int] {
        guard let match, count > 0 else { return [] }
        var guesses: [Int] = []
        for index in match..<match + count { guesses.append(index < tokens.count ? tokens[index] : guesses[index - tokens.count]) }
        return guesses
    }
}
