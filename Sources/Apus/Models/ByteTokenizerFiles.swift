import ModelHub
import Transformer

/// A tokenizer of bytes and special tokens for folders with random weights, in the form that the family's own tokenizer has.
struct ByteTokenizerFiles {
    /// Contents and ids of special tokens.
    private let special: [(content: String, id: Int)]
    private let isGemma: Bool
    private let beginning: (content: String, id: Int)?
    private let end: (content: String, id: Int)?
    private let maximumLength: Int
    private let vocabularySize: Int

    init(configuration: ModelConfiguration, spec: TransformerSpec, isEncoder: Bool) {
        isGemma = spec.normPlacement == .sandwich
        maximumLength = spec.maximumPositions
        vocabularySize = spec.vocabularySize
        if isGemma {
            special = [("<pad>", 0), ("<eos>", 1), ("<bos>", 2), ("<unk>", 3), ("<start_of_turn>", 105), ("<end_of_turn>", 106)]
                .filter { $0.1 < spec.vocabularySize }
            beginning = ("<bos>", 2)
            end = isEncoder ? ("<eos>", 1) : nil
        } else {
            // Qwen3's ids where the vocabulary reaches so far, else the last ones.
            let first = spec.vocabularySize > 151_645 ? 151_643 : max(256, spec.vocabularySize - 3)
            special = [("<|endoftext|>", first), ("<|im_start|>", first + 1), ("<|im_end|>", first + 2)].filter { $0.1 < spec.vocabularySize }
            beginning = nil
            end = isEncoder ? special.first : nil
        }
    }

    var tokenizerJSON: String {
        let ordinary = isGemma ? gemmaVocabulary : qwenVocabulary
        let known = Set(ordinary.map(\.id)).union(special.map(\.id))
        let entries = (special.map { ($0.content, $0.id) } + ordinary.map { ($0.token, $0.id) })
            .filter { $0.1 < vocabularySize && known.contains($0.1) }
            .map { "      \(Self.quote($0.0)): \($0.1)" }
        let added = special.map {
            """
                {"id": \($0.id), "content": \(Self.quote($0.content)), "single_word": false, "lstrip": false, "rstrip": false, \
            "normalized": false, "special": true}
            """
        }
        return """
            {
              "version": "1.0",
              "truncation": null,
              "padding": null,
              "added_tokens": [
            \(added.joined(separator: ",\n"))
              ],
              "normalizer": \(isGemma ? #"{"type": "Replace", "pattern": {"String": " "}, "content": "▁"}"# : #"{"type": "NFC"}"#),
              "pre_tokenizer": \(isGemma ? #"{"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false}"# : Self.byteLevel),
              "post_processor": \(postProcessor),
              "decoder": \(isGemma ? Self.gemmaDecoder : Self.byteLevel),
              "model": {
                "type": "BPE",
                "dropout": null,
                "unk_token": \(isGemma ? "\"<unk>\"" : "null"),
                "continuing_subword_prefix": null,
                "end_of_word_suffix": null,
                "fuse_unk": \(isGemma),
                "byte_fallback": \(isGemma),
                "ignore_merges": false,
                "vocab": {
            \(entries.joined(separator: ",\n"))
                },
                "merges": []
              }
            }

            """
    }

    var configurationJSON: String {
        let endText = end?.content ?? (isGemma ? "<eos>" : "<|im_end|>")
        return """
            {
              "bos_token": \(beginning.map { Self.quote($0.content) } ?? "null"),
              "eos_token": \(Self.quote(endText)),
              "pad_token": \(Self.quote(isGemma ? "<pad>" : "<|endoftext|>")),
              "model_max_length": \(maximumLength),
              "tokenizer_class": "PreTrainedTokenizerFast"
            }

            """
    }

    /// Turns between start and end marks, where the vocabulary has them.
    var chatTemplate: String? {
        guard special.count == (isGemma ? 6 : 3) else { return nil }
        let (start, end) = isGemma ? ("<start_of_turn>", "<end_of_turn>") : ("<|im_start|>", "<|im_end|>")
        return """
            {%- for message in messages %}
            {{- '\(start)' + message.role + '\\n' + message.content + '\(end)\\n' }}
            {%- endfor %}
            {%- if add_generation_prompt %}
            {{- '\(start)\(isGemma ? "model" : "assistant")\\n' }}
            {%- endif %}

            """
    }

    private static let byteLevel = #"{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}"#
    private static let gemmaDecoder =
        #"{"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]}"#

    private var postProcessor: String {
        let marks = [beginning, end].compactMap { $0 }
        guard !marks.isEmpty else { return Self.byteLevel }
        func piece(_ mark: (content: String, id: Int)) -> String { "{\"SpecialToken\": {\"id\": \(Self.quote(mark.content)), \"type_id\": 0}}" }
        func sequence(_ name: String) -> String { "{\"Sequence\": {\"id\": \"\(name)\", \"type_id\": 0}}" }
        func template(_ names: [String]) -> String {
            let parts = names.flatMap { name in
                (beginning.map { [piece($0)] } ?? []) + [sequence(name)] + (end.map { [piece($0)] } ?? [])
            }
            return "[\(parts.joined(separator: ", "))]"
        }
        let tokens = marks.map { mark in
            "\(Self.quote(mark.content)): {\"id\": \(Self.quote(mark.content)), \"ids\": [\(mark.id)], \"tokens\": [\(Self.quote(mark.content))]}"
        }
        return """
            {"type": "TemplateProcessing", "single": \(template(["A"])), "pair": \(template(["A", "B"])), \
            "special_tokens": {\(tokens.joined(separator: ", "))}}
            """
    }

    /// The 256 bytes under the printable names that byte-level BPE gives them.
    private var qwenVocabulary: [(token: String, id: Int)] {
        var next: UInt32 = 256
        return (0..<256).map { byte in
            let isPrintable = (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || (0xAE...0xFF).contains(byte)
            let value: UInt32 = isPrintable ? UInt32(byte) : next
            if !isPrintable { next += 1 }
            return (Unicode.Scalar(value).map { String(Character($0)) } ?? "", byte)
        }
    }

    /// The 256 byte tokens and the space mark, around the special ids.
    private var gemmaVocabulary: [(token: String, id: Int)] {
        let bytes = (0..<256).map { byte in
            let digits = String(byte, radix: 16, uppercase: true)
            return ("<0x\(digits.count == 1 ? "0" : "")\(digits)>", 110 + byte)
        }
        return bytes + [("▁", 4)]
    }

    private static func quote(_ text: String) -> String {
        "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
    }
}
