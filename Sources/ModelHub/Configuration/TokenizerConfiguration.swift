import JSON
package import OrderedCollections

/// The parts of tokenizer_config.json that tokenizer.json does not hold: special tokens by role, and the length limit.
package struct TokenizerConfiguration: Sendable {
    /// The special tokens by the names that chat templates use: `bos_token`, `eos_token`, `unk_token`, `pad_token` and so on.
    package var specialTokens: OrderedDictionary<String, String> = [:]
    /// `model_max_length`, or nil where the file has none or the huge number that means none.
    package var maximumLength: Int?
    package var addsBeginningToken: Bool?
    package var addsEndToken: Bool?

    package init() {}

    /// Reads the file; all members are empty where the folder has none.
    package init(folder: ModelFolder) throws(ModelHubError) {
        guard folder.contains(ModelFile.tokenizerConfiguration) else { return }
        let file = try ConfigurationObject(reading: ModelFile.tokenizerConfiguration, of: folder)
        for role in ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"] {
            guard let value = file.value(role) else { continue }
            // Either the text, or an object that also says how the token is stripped.
            guard let text = value.stringValue ?? value["content"]?.stringValue else {
                throw file.invalid(role, expected: "a string or an object with \"content\"", found: value)
            }
            specialTokens[role] = text
        }
        if let limit = try file.numberIfPresent("model_max_length", in: 0...Double.greatestFiniteMagnitude), limit >= 1, limit < 1e9 {
            maximumLength = Int(limit)
        }
        addsBeginningToken = try file.boolIfPresent("add_bos_token")
        addsEndToken = try file.boolIfPresent("add_eos_token")
    }
}
