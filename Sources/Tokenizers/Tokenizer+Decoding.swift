extension Tokenizer {
    /// The text of `ids`. Ids that are no tokens are passed over; bytes that are not UTF-8 become U+FFFD.
    public func decode(_ ids: some Sequence<Int>, skipSpecialTokens: Bool = true) -> String {
        var detokenizer = StreamingDetokenizer(self, skipSpecialTokens: skipSpecialTokens)
        var text: [UInt8] = []
        detokenizer.append(contentsOf: ids, to: &text)
        detokenizer.finish(to: &text)
        return String(decoding: text, as: UTF8.self)
    }
}
