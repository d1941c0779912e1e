import Foundation
import JSON
import ModelHub
import OrderedCollections
import Testing

/// Broken and hostile files of a model folder are refused with a ``ModelHubError``; nothing traps, hangs or throws anything else.
///
/// The seed is fixed; `APUS_FUZZ_ROUNDS` in the environment asks for more rounds than the default.
@Suite struct ConfigurationFuzzTests {
    /// SplitMix64.
    private struct Random: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var mixed = state
            mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
            return mixed ^ mixed >> 31
        }
    }

    private static let values = [
        "null", "true", "-1", "0", "1", "1.5", "1e308", "1e999", "-0.0", "9223372036854775807", "-9223372036854775808", "18446744073709551616",
        "1099511627776", "\"\"", "\"x\"", "\"../..\"", "\"\\ud800\"", "[]", "{}", "[null]", "[[[[]]]]", "{\"full_attention\": {}}",
        "\"full_attention\"", "[\"sliding_attention\"]", "\"yarn\"", "\"llama3\"", "\"longrope\"",
    ]

    /// A folder that reads without error, by file.
    private static func seeds() throws -> [[String: [UInt8]]] {
        let st = SentenceTransformersConfigurationTests.modules
        let common = [
            "generation_config.json":
                #"{"eos_token_id": [1, 2], "temperature": 0.6, "top_k": 20, "top_p": 0.95, "do_sample": true, "stop_strings": ["a"]}"#,
            "tokenizer_config.json":
                #"{"bos_token": {"content": "<s>"}, "eos_token": "</s>", "model_max_length": 2048, "chat_template": [{"name": "default", "template": "x"}]}"#,
            "modules.json": st,
            "1_Pooling/config.json": #"{"word_embedding_dimension": 8, "pooling_mode_lasttoken": true, "include_prompt": true}"#,
            "2_Dense/config.json":
                #"{"in_features": 8, "out_features": 32, "bias": false, "activation_function": "torch.nn.modules.linear.Identity"}"#,
            "3_Dense/config.json": #"{"in_features": 32, "out_features": 8, "activation_function": "torch.nn.modules.activation.Tanh"}"#,
            "2_Dense/model.safetensors": "", "3_Dense/model.safetensors": "",
            "sentence_bert_config.json": #"{"max_seq_length": 2048, "do_lower_case": false}"#,
            "config_sentence_transformers.json": #"{"prompts": {"query": "q: "}, "default_prompt_name": "query", "similarity_fn_name": "dot"}"#,
        ].mapValues { Array($0.utf8) }
        let cases = try #require(try Goldens.json("configurations")["cases"]?.arrayValue)
        return try cases.map { item in
            var files = common
            files["config.json"] = Array(Self.print(try #require(item["config"])).utf8)
            return files
        }
    }

    private static func print(_ value: JSONValue) -> String {
        switch value {
        case .null: "null"
        case .bool(let value): "\(value)"
        case .integer(let value): "\(value)"
        case .double(let value): "\(value)"
        case .string(let value): "\"\(value)\""
        case .array(let elements): "[" + elements.map(print).joined(separator: ", ") + "]"
        case .object(let members): "{" + members.map { "\"\($0.key)\": " + print($0.value) }.joined(separator: ", ") + "}"
        }
    }

    /// Reads all that can be read of a folder; gives the number of refusals.
    private func readAll(_ files: [String: [UInt8]]) throws -> Int {
        let folder = ModelFolder(files: files.mapValues { Data($0) }, name: "fuzzed")
        var refusals = 0
        func attempt(_ body: () throws -> Void) throws {
            do { try body() } catch is ModelHubError { refusals += 1 }
        }
        try attempt { _ = try SentenceTransformersConfiguration(folder: folder) }
        try attempt { _ = try TokenizerConfiguration(folder: folder) }
        try attempt { _ = try ChatTemplateFiles(folder: folder).text(withTools: true) }
        try attempt {
            let configuration = try ModelConfiguration(folder: folder)
            try attempt {
                let count = try configuration.layerTypes().count
                #expect(count <= ModelConfiguration.maximumLayerCount)
            }
            try attempt { _ = try configuration.slidingWindow() }
            try attempt { _ = try configuration.weightType }
            try attempt { _ = try configuration.tiesWordEmbeddings(default: false) }
            for type in AttentionLayerType.allCases {
                try attempt {
                    let rope = try configuration.ropeParameters(forLayerType: type)
                    #expect(rope.theta > 0)
                }
            }
            for key in configuration.raw.keys { try attempt { _ = try configuration.integer(key) } }
            try attempt { _ = try GenerationConfiguration(folder: folder, configuration: configuration) }
        }
        return refusals
    }

    @Test func theSeedsThemselvesAreSound() throws {
        for files in try Self.seeds() {
            let folder = ModelFolder(files: files.mapValues { Data($0) }, name: "seed")
            #expect(try SentenceTransformersConfiguration(folder: folder)?.pooling == .lastToken)
            #expect(try ChatTemplateFiles(folder: folder).text() == "x")
            _ = try GenerationConfiguration(folder: folder, configuration: ModelConfiguration(folder: folder))
        }
    }

    @Test func hostileFilesAreRefused() throws {
        let rounds = ProcessInfo.processInfo.environment["APUS_FUZZ_ROUNDS"].flatMap { Int($0) } ?? 4_000
        let seeds = try Self.seeds()
        var random = Random(state: 20_261_121)
        var refusals = 0
        for _ in 0..<rounds {
            guard var files = seeds.randomElement(using: &random), let name = files.keys.sorted().randomElement(using: &random),
                var bytes = files[name]
            else { continue }
            for _ in 0..<Int.random(in: 1...3, using: &random) { mutate(&bytes, &random) }
            files[name] = bytes
            refusals += try readAll(files)
        }
        // Most mutations break something; a reader that takes everything would be seen here.
        #expect(refusals > rounds / 4)
    }

    private func mutate(_ bytes: inout [UInt8], _ random: inout Random) {
        guard !bytes.isEmpty else { return }
        let index = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<6, using: &random) {
        case 0: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: bytes.removeSubrange(index...)
        case 2: bytes.removeSubrange(index..<min(bytes.count, index + 9))
        case 3: bytes.insert(contentsOf: Array(repeating: UInt8(ascii: "["), count: 300), at: index)
        default:
            // Another value behind a key.
            let colons = bytes.indices.filter { bytes[$0] == UInt8(ascii: ":") }
            guard let colon = colons.randomElement(using: &random), let value = Self.values.randomElement(using: &random) else { return }
            var end = colon + 1
            var depth = 0
            while end < bytes.count {
                let byte = bytes[end]
                if byte == UInt8(ascii: "[") || byte == UInt8(ascii: "{") { depth += 1 }
                if depth == 0, byte == UInt8(ascii: ",") || byte == UInt8(ascii: "}") || byte == UInt8(ascii: "]") { break }
                if byte == UInt8(ascii: "]") || byte == UInt8(ascii: "}") { depth -= 1 }
                end += 1
            }
            bytes.replaceSubrange(colon + 1..<end, with: Array(value.utf8))
        }
    }
}
