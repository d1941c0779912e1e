import Tokenizers

extension FuzzTarget {
    /// tokenizer.json, and what a tokenizer that was accepted does with texts.
    static let tokenizer = FuzzTarget(
        name: "tokenizer",
        seeds: [
            #"""
            {"version":"1.0","truncation":null,"padding":null,"added_tokens":[{"id":9,"content":"<|end|>","single_word":false,"lstrip":false,"rstrip":true,
            "normalized":false,"special":true}],"normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":
            {"Regex":"(?i:'s|'t)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},"behavior":"Isolated",
            "invert":false},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":false}]},"post_processor":{"type":"TemplateProcessing",
            "single":[{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"<|end|>","type_id":0}}],"pair":[{"Sequence":{"id":"A","type_id":0}},
            {"Sequence":{"id":"B","type_id":1}}],"special_tokens":{"<|end|>":{"id":"<|end|>","ids":[9],"tokens":["<|end|>"]}}},
            "decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},"model":{"type":"BPE","dropout":null,"unk_token":null,
            "continuing_subword_prefix":"","end_of_word_suffix":"","fuse_unk":false,"byte_fallback":false,"ignore_merges":false,
            "vocab":{"a":0,"b":1,"Ġ":2,"l":3,"o":4,"ab":5,"lo":6,"Ġa":7,"lol":8},"merges":[["a","b"],["l","o"],["Ġ","a"],["lo","l"]]}}
            """#,
            #"""
            {"added_tokens":[{"id":0,"content":"<unk>","special":true},{"id":1,"content":"<s>","special":true},{"id":2,"content":"mark","normalized":true,
            "single_word":true,"lstrip":true,"rstrip":false,"special":false}],"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},
            {"type":"Replace","pattern":{"String":" "},"content":"▁"}]},"pre_tokenizer":null,"post_processor":{"type":"TemplateProcessing","single":
            [{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"pair":[{"Sequence":{"id":"A","type_id":0}}],
            "special_tokens":{"<s>":{"id":"<s>","ids":[1],"tokens":["<s>"]}}},"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},
            "content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},"model":{"type":"BPE","unk_token":"<unk>",
            "fuse_unk":true,"byte_fallback":true,"vocab":{"<unk>":0,"<s>":1,"mark":2,"<0x41>":3,"<0xC3>":4,"<0xA9>":5,"▁":6,"a":7,"b":8,"▁a":9,"ab":10},
            "merges":["▁ a","a b"]}}
            """#,
            #"""
            {"normalizer":{"type":"Replace","pattern":{"String":" "},"content":"▁"},"pre_tokenizer":{"type":"Split","pattern":{"String":" "},"behavior":
            "MergedWithPrevious","invert":false},"decoder":{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true},"model":{"type":"BPE",
            "vocab":{"x":0,"y":1,"xy":2,"xyxy":3},"merges":["x y","xy xy"],"unk_token":null}}
            """#,
        ].map { Array($0.utf8) },
        format: .json,
        dictionary: [
            "BPE", "Split", "Regex", "String", "Sequence", "ByteLevel", "TemplateProcessing", "Metaspace", "NFKC", "Lowercase", "Digits", "Removed",
            "Contiguous",
            "MergedWithNext", "(a|b)*+c", "(?:x+)+y", "\\p{L}{2,5}?", "[^a-z]", "(?!a)", "unk_token", "vocab", "merges", "▁", "<0x00>",
        ],
        statedMemoryMultiple: 64,
        run: { input in
            let tokenizer = try Tokenizer(json: input)
            for text in texts {
                let ids = tokenizer.encode(text)
                guard ids.allSatisfy({ tokenizer.contains($0) }) else { throw FuzzViolation("an id was given that the tokenizer does not have") }
                let decoded = tokenizer.decode(ids, skipSpecialTokens: false)
                var streaming = StreamingDetokenizer(tokenizer, skipSpecialTokens: false)
                var streamed = ""
                for id in ids { streamed += streaming.append(id) }
                streamed += streaming.finish()
                guard streamed.utf8.elementsEqual(decoded.utf8) else { throw FuzzViolation("streamed '\(streamed)' but decoded '\(decoded)'") }
            }
            _ = tokenizer.decode([-1, .max, 0, 1, 2, 3, 4, 5])
        })

    private static let texts = [
        "", "Hello  world's\r\n 1234 lol ab", " mark é👩‍👩‍👧\u{0}", "<s>xyxy<|end|> ", String(repeating: "ab", count: 200),
        String(repeating: " ", count: 200),
    ]
}
