extension Tokenizer {
    /// The ids of `text`, with the special tokens that the file's post-processor adds around it.
    ///
    /// Time is O(n log n) in the length of the longest word and linear in the rest. With `splitsSpecialTokens`, special tokens that are spelled out in
    /// the text are encoded as ordinary text: a server wants that for what its users write.
    public func encode(_ text: String, addSpecialTokens: Bool = true, splitsSpecialTokens: Bool = false) -> [Int] {
        let ids = scratches.withScratch { scratch in
            var ids: [Int32] = []
            ids.reserveCapacity(text.utf8.count / 3 + 8)
            encode(Array(text.utf8), splitsSpecialTokens, scratch, to: &ids)
            return ids
        }
        var result: [Int] = []
        result.reserveCapacity(ids.count + 4)
        for piece in template.pieces {
            switch piece {
            case .text:
                for id in ids { result.append(Int(id)) }
            case .tokens(let tokens):
                if addSpecialTokens { result.append(contentsOf: tokens.map(Int.init)) }
            }
        }
        return result
    }

    /// Added tokens are first looked for in the raw text; what lies between them is normalised piece by piece, and looked through once more.
    private func encode(_ text: [UInt8], _ splitsSpecialTokens: Bool, _ scratch: EncodingScratch, to ids: inout [Int32]) {
        rawMatcher.forEachPart(of: text, skippingSpecial: splitsSpecialTokens) { part in
            switch part {
            case .token(let id): ids.append(id)
            case .text(let range):
                var piece = range.count == text.count ? text : Array(text[range])
                var originCount = range.lowerBound == 0 ? scalarLength(text[0]) : 0
                scratch.normalizer.normalize(&piece, originCount: &originCount)
                encodeNormalized(piece, originCount, splitsSpecialTokens, scratch, to: &ids)
            }
        }
    }

    private func encodeNormalized(
        _ text: [UInt8], _ originCount: Int, _ splitsSpecialTokens: Bool, _ scratch: EncodingScratch, to ids: inout [Int32]
    ) {
        normalizedMatcher.forEachPart(of: text, skippingSpecial: splitsSpecialTokens) { part in
            switch part {
            case .token(let id): ids.append(id)
            case .text(let range):
                let piece = range.count == text.count ? text : Array(text[range])
                scratch.preTokenizer.forEachWord(of: piece, originCount: max(0, originCount - range.lowerBound)) { text, range, form in
                    switch form {
                    case .text: model.encode(text, range, scratch, to: &ids)
                    case .bytesOfByteLevel: model.encodeBytes(text, range, scratch, to: &ids)
                    }
                }
            }
        }
    }
}
