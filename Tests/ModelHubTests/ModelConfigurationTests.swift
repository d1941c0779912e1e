import JSON
import ModelHub
import OrderedCollections
import Testing

@Suite struct ModelConfigurationTests {
    private func configuration(_ text: String) throws -> ModelConfiguration {
        try ModelConfiguration(parsing: Array(text.utf8))
    }

    @Test func agreesWithTransformersInBothSpellings() throws {
        let cases = try #require(try Goldens.json("configurations")["cases"]?.arrayValue)
        #expect(cases.count >= 30)
        for item in cases {
            let name = try #require(item["name"]?.stringValue)
            let expected = try #require(item["expected"])
            let raw = try #require(item["config"]?.objectValue)
            let configuration = try ModelConfiguration(ConfigurationObject(file: name, members: raw))
            #expect(configuration.modelType == expected["modelType"]?.stringValue, "\(name)")
            let layerTypes = try configuration.layerTypes()
            #expect(layerTypes.map(\.rawValue) == expected["layerTypes"]?.arrayValue?.compactMap(\.stringValue), "\(name)")
            #expect(try configuration.slidingWindow() == expected["slidingWindow"]?.integerValue, "\(name)")
            #expect(
                try configuration.tiesWordEmbeddings(default: configuration.modelType.hasPrefix("gemma")) == expected["tied"]?.boolValue,
                "\(name)")
            #expect(try configuration.weightType == expected["dtype"]?.stringValue, "\(name)")
            let ropes = try #require(expected["ropes"]?.objectValue)
            for (kind, rope) in ropes {
                let type = try #require(AttentionLayerType(rawValue: kind))
                let found = try configuration.ropeParameters(forLayerType: type)
                #expect(found.theta == rope["rope_theta"]?.doubleValue, "\(name) \(kind)")
                #expect(found.type == rope["rope_type"]?.stringValue, "\(name) \(kind)")
                #expect(found.factor == rope["factor"]?.doubleValue, "\(name) \(kind)")
                #expect(found.originalMaximumPositions == rope["original_max_position_embeddings"]?.integerValue, "\(name) \(kind)")
                #expect(found.betaFast == rope["beta_fast"]?.doubleValue, "\(name) \(kind)")
                #expect(found.lowFrequencyFactor == rope["low_freq_factor"]?.doubleValue, "\(name) \(kind)")
                #expect(found.highFrequencyFactor == rope["high_freq_factor"]?.doubleValue, "\(name) \(kind)")
                #expect(found.truncate == rope["truncate"]?.boolValue, "\(name) \(kind)")
            }
        }
    }

    @Test func readsTheTextModelOfAFolderWithPictures() throws {
        let configuration = try configuration(
            #"{"model_type": "gemma3", "eos_token_id": [1, 106], "text_config": {"hidden_size": 640, "num_hidden_layers": 2, "bos_token_id": 2}}"#
        )
        #expect(configuration.modelType == "gemma3_text")
        #expect(try configuration.integer("hidden_size") == 640)
        #expect(try configuration.tokenIDs("eos_token_id") == [1, 106])
        #expect(try configuration.tokenIDs("bos_token_id") == [2])
        #expect(try configuration.layerTypes() == [.sliding, .sliding])
    }

    @Test(arguments: [
        ("{}", "model_type"), (#"{"model_type": 3}"#, "model_type"), ("[]", "an object"), ("", "byte 0"), ("{\"a\": ", "byte 6"),
        (#"{"model_type": "qwen3", "text_config": 5}"#, "text_config"),
        (#"{"model_type": "qwen3", "architectures": "x"}"#, "architectures"),
    ])
    func refusesWhatIsNoConfiguration(text: String, names: String) throws {
        let error = try #require(throws: ModelHubError.self) { try configuration(text) }
        #expect(error.code == .invalidFile)
        #expect(error.message.contains("config.json") && error.message.contains(names), "\(error)")
    }

    @Test(arguments: [
        "-1", "0", "1099511627776", "1e300", "1.5", "\"640\"", "true", "[640]", "{}", "9223372036854775808", "-9223372036854775808",
    ])
    func refusesDimensionsThatCannotBe(value: String) throws {
        let configuration = try configuration("{\"model_type\": \"qwen3\", \"hidden_size\": \(value)}")
        let error = try #require(throws: ModelHubError.self) { try configuration.integer("hidden_size") }
        #expect(error.code == .invalidFile)
        #expect(error.message.contains("\"hidden_size\" must be an integer from 1 to"), "\(error)")
    }

    @Test func namesTheMissingKeyAndTheNestedOne() throws {
        let plain = try configuration(#"{"model_type": "qwen3", "hidden_size": null}"#)
        #expect(
            try #require(throws: ModelHubError.self) { try plain.integer("hidden_size") }.message.contains("\"hidden_size\" is missing"))
        #expect(try plain.integer("hidden_size", default: 7) == 7)
        let nested = try configuration(#"{"model_type": "gemma3", "text_config": {"num_hidden_layers": "x"}}"#)
        #expect(try #require(throws: ModelHubError.self) { try nested.layerTypes() }.message.contains("\"text_config.num_hidden_layers\""))
    }

    @Test(arguments: [
        #""num_hidden_layers": 1000000000"#, #""num_hidden_layers": 2, "layer_types": ["full_attention"]"#,
        #""num_hidden_layers": 1, "layer_types": ["linear_attention"]"#, #""num_hidden_layers": 1, "layer_types": [1]"#,
        #""num_hidden_layers": 2, "sliding_window_pattern": 0"#, #""num_hidden_layers": 2, "sliding_window_pattern": -6"#,
        #""num_hidden_layers": 2, "use_sliding_window": "yes""#,
        #""num_hidden_layers": 2, "use_sliding_window": true, "sliding_window": -1"#,
        #""num_hidden_layers": 2, "use_sliding_window": true, "sliding_window": 4, "max_window_layers": -1"#,
    ])
    func refusesLayersThatCannotBe(members: String) throws {
        let configuration = try configuration("{\"model_type\": \"qwen3\", \(members)}")
        #expect(throws: ModelHubError.self) { try configuration.layerTypes() }
    }

    @Test(arguments: [
        #""rope_theta": 0"#, #""rope_theta": -1"#, #""rope_theta": 1e999"#, #""rope_theta": "x""#, #""rope_parameters": 5"#,
        #""rope_parameters": {"rope_type": "linear"}"#, #""rope_parameters": {"rope_type": "linear", "factor": 0}"#,
        #""rope_parameters": {"rope_type": 3}"#, #""rope_scaling": {"type": "llama3", "factor": 8}"#,
        #""rope_scaling": {"type": "yarn", "factor": 2, "original_max_position_embeddings": 0}"#,
        #""rope_scaling": {"type": "yarn", "factor": 2}"#,
        #""rope_parameters": {"full_attention": null}"#, #""rope_parameters": {"full_attention": 7}"#,
        #""rope_scaling": {"type": "longrope", "short_factor": [1, "a"], "original_max_position_embeddings": 4}"#,
        #""partial_rotary_factor": 2"#,
    ])
    func refusesRopeThatCannotBe(members: String) throws {
        let configuration = try configuration("{\"model_type\": \"qwen3\", \"num_hidden_layers\": 2, \(members)}")
        let error = try #require(throws: ModelHubError.self) { try configuration.ropeParameters(forLayerType: .full) }
        #expect(error.code == .invalidFile && error.message.hasPrefix("config.json: \""), "\(error)")
    }

    @Test func passesOnRopeOfAnotherKind() throws {
        let configuration = try configuration(
            #"{"model_type": "x", "num_hidden_layers": 1, "rope_scaling": {"rope_type": "spiral"}, "rope_theta": 5, "partial_rotary_factor": 0.5}"#
        )
        var expected = RopeParameters(theta: 5, type: "spiral")
        expected.partialRotaryFactor = 0.5
        #expect(try configuration.ropeParameters(forLayerType: .full) == expected)
    }
}
