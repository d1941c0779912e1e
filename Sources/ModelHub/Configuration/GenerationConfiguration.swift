import JSON

/// A model's own wishes about sampling: generation_config.json, or what config.json says of the special tokens where that file is absent.
///
/// A member that is nil was not set; transformers would then sample with temperature 1, top-k 50 and top-p 1, or not at all without `doSample`.
package struct GenerationConfiguration: Sendable, Equatable {
    /// Any of these ends the answer.
    package var eosTokenIDs: [Int] = []
    package var bosTokenID: Int?
    package var padTokenID: Int?
    package var doSample: Bool?
    package var temperature: Double?
    package var topK: Int?
    package var topP: Double?
    package var minP: Double?
    package var repetitionPenalty: Double?
    package var maxNewTokens: Int?
    package var maxLength: Int?
    package var stopStrings: [String] = []

    package init() {}

    package init(folder: ModelFolder, configuration: ModelConfiguration) throws(ModelHubError) {
        self.init()
        if folder.contains(ModelFile.generation) {
            self = try GenerationConfiguration(try ConfigurationObject(reading: ModelFile.generation, of: folder))
        }
        // A file that sets the sampling and forgets the special tokens must not make answers endless.
        if eosTokenIDs.isEmpty { eosTokenIDs = try configuration.tokenIDs("eos_token_id") }
        if bosTokenID == nil { bosTokenID = try configuration.tokenIDs("bos_token_id").first }
        if padTokenID == nil { padTokenID = try configuration.tokenIDs("pad_token_id").first }
    }

    init(_ file: ConfigurationObject) throws(ModelHubError) {
        let large = 1e30
        eosTokenIDs = try file.integersIfPresent("eos_token_id") ?? []
        bosTokenID = try file.integersIfPresent("bos_token_id")?.first
        padTokenID = try file.integersIfPresent("pad_token_id")?.first
        doSample = try file.boolIfPresent("do_sample")
        temperature = try file.numberIfPresent("temperature", in: 0...large)
        topK = try file.integerIfPresent("top_k")
        topP = try file.numberIfPresent("top_p", in: 0...1)
        minP = try file.numberIfPresent("min_p", in: 0...1)
        repetitionPenalty = try file.numberIfPresent("repetition_penalty", in: Double.leastNormalMagnitude...large)
        maxNewTokens = try file.integerIfPresent("max_new_tokens")
        maxLength = try file.integerIfPresent("max_length")
        if let single = file.value("stop_strings")?.stringValue {
            stopStrings = [single]
        } else {
            stopStrings = try file.stringsIfPresent("stop_strings") ?? []
        }
    }
}
