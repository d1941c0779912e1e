import Tokenizers

/// Small tokenizer files written in place.
enum ToyTokenizer {
    /// A file with single characters, two merges and what a test puts in.
    static func json(
        vocab: String = #"{"a":0,"b":1,"c":2," ":3,"ab":4,"abc":5,"<unk>":6}"#, merges: String = #"[["a","b"],["ab","c"]]"#,
        model: String = "", addedTokens: String = "[]", sections: String = ""
    ) -> [UInt8] {
        Array(
            #"{"version":"1.0","added_tokens":\#(addedTokens),\#(sections)"model":{"type":"BPE",\#(model)"vocab":\#(vocab),"merges":\#(merges)}}"#
                .utf8)
    }

    static func added(_ id: Int, _ content: String, _ flags: String = "") -> String {
        #"{"id":\#(id),"content":"\#(content)"\#(flags.isEmpty ? "" : "," + flags)}"#
    }

    /// The error that reading `bytes` gives, or nil.
    static func error(_ bytes: [UInt8]) -> TokenizerError? {
        do {
            _ = try Tokenizer(json: bytes)
            return nil
        } catch {
            return error as? TokenizerError
        }
    }
}
