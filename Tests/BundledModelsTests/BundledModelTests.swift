import Apus
import Foundation
import JSON
import ModelHub
import Tensors
import Testing
import Tokenizers
import Transformer

/// The two models in the program against what transformers computes from their files.
@Suite struct BundledModelTests {
    private func golden(_ name: String) throws -> JSONValue {
        let url = try #require(Bundle.module.resourceURL?.appendingPathComponent("Goldens/\(name).json"))
        return try JSONValue(parsing: [UInt8](Data(contentsOf: url)))
    }

    private func matrix(_ name: String) throws -> (values: [Float], columns: Int) {
        let url = try #require(Bundle.module.resourceURL?.appendingPathComponent("Goldens/\(name).npy"))
        let tensor = try NPY.read(contentsOf: url.path)
        return (try tensor.float32(), tensor.shape[tensor.shape.count - 1])
    }

    private func deviation(_ values: [Float]) -> Float {
        let mean = values.reduce(0, +) / Float(values.count)
        return (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Float(values.count)).squareRoot()
    }

    /// Every file of the source folders is in the program as it is.
    @Test(arguments: [(BundledModel.text, "Text"), (.embedding, "Embedding")])
    func theProgramHoldsTheFolder(model: BundledModel, folder: String) throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Sources/CBundledModels/\(folder)")
        var count = 0
        for name in try FileManager.default.subpathsOfDirectory(atPath: root.path) {
            let url = root.appendingPathComponent(name)
            var isDirectory: ObjCBool = false
            guard FileManager.default.fileExists(atPath: url.path, isDirectory: &isDirectory), !isDirectory.boolValue else { continue }
            count += 1
            #expect(model.folder.contains(name), "\(name)")
            let embedded = try model.folder.data(of: name)
            #expect(try embedded == Data(contentsOf: url), "\(name)")
        }
        #expect(count >= 6)
    }

    @Test func theTextModelContinuesAsTransformersDoes() async throws {
        let generator = try await Generator()
        #expect(generator.model.spec.parameterCount <= 3_000_000)
        let golden = try golden("text")
        let (logits, vocabulary) = try matrix("text-logits")
        let cases = try #require(golden["cases"]?.arrayValue)
        for (index, entry) in cases.enumerated() {
            let ids = (entry["ids"]?.arrayValue ?? []).compactMap(\.integerValue)
            #expect(try generator.encode(entry["text"]?.stringValue ?? "") == ids)
            let session = try generator.model.executor.makeSession()
            let actual = try session.extend(ids.map { Int32($0) })
            let expected = Array(logits[index * vocabulary..<(index + 1) * vocabulary])
            let worst = zip(actual, expected).reduce(0) { max($0, abs($1.0 - $1.1)) }
            #expect(worst < 2e-3 * deviation(expected))

            let greedy = (entry["greedy_ids"]?.arrayValue ?? []).compactMap(\.integerValue)
            let result = try generator.generate(ids: ids, options: GenerationOptions(maximumTokens: greedy.count))
            // transformers lists the token that ended the text, we do not.
            let ended = result.finishReason == .stop ? 1 : 0
            #expect(result.tokens == Array(greedy.prefix(greedy.count - ended)))
        }
        let messages = (golden["chat"]?.arrayValue ?? []).map { message in
            ChatMessage(ChatMessage.Role(rawValue: message["role"]?.stringValue ?? "") ?? .user, message["content"]?.stringValue ?? "")
        }
        #expect(try generator.render(messages: messages) == golden["rendered"]?.stringValue)
    }

    /// docs/decode.md states what the rounding of keys and values costs.
    @Test func aCacheOfCodesCostsLittle() async throws {
        let plain = try await LoadedModel(BundledModel.text.name, options: ModelOptions())
        var options = ModelOptions()
        options.cacheFormat = .float8
        let coded = try await LoadedModel(BundledModel.text.name, options: options)
        #expect(coded.executor.cacheFormat == .float8 && plain.executor.cacheFormat == .bfloat16)
        let generator = try Generator(model: coded)
        let text = "Once upon a time there was a little girl who had a red ball. One day she went to the park with her mother and"
        let ids = try generator.encode(text)
        var (whole, rounded): ([[Float]], [[Float]]) = ([], [])
        try plain.executor.makeSession().extend(ids.map { Int32($0) }) { _, logits in whole.append(logits) }
        try coded.executor.makeSession().extend(ids.map { Int32($0) }) { _, logits in rounded.append(logits) }
        let losses = zip(rounded, whole).map(divergence)
        #expect(losses.max() ?? .nan < 0.1 && losses.reduce(0, +) / Double(losses.count) < 0.02, "\(losses)")
        #expect(losses.max() ?? 0 > 1e-7)

        // The prompt in one piece and in three, and the same text.
        let goesOn = GenerationOptions(maximumTokens: 40, ignoresEndOfSequence: true)
        let once = try generator.generate(ids: ids, options: goesOn)
        let session = try coded.executor.makeSession()
        _ = try session.extend(ids.prefix(7).map { Int32($0) })
        _ = try session.extend([Int32(ids[7])])
        #expect(try generator.generate(ids: ids, options: goesOn, session: session).tokens == once.tokens)
    }

    /// In nats.
    private func divergence(_ actual: [Float], _ expected: [Float]) -> Double {
        func logSum(_ logits: [Float]) -> Double { log(logits.reduce(0) { $0 + exp(Double($1)) }) }
        let (a, e) = (logSum(actual), logSum(expected))
        return zip(actual, expected).reduce(0) { $0 + exp(Double($1.1) - e) * ((Double($1.1) - e) - (Double($1.0) - a)) }
    }

    @Test func theEmbeddingModelGivesTransformersVectors() async throws {
        let embedder = try await Embedder()
        let spec = embedder.model.spec
        #expect(spec.parameterCount <= 2_000_000)
        // All of the family's traits: a window, two rope bases, norms of 1 + w before and after each branch.
        #expect(Set(spec.layers.map(\.window)).count == 2)
        #expect(Set(spec.layers.map(\.rope.base)).count == 2)
        #expect(spec.normPlacement == .sandwich && spec.normWeightOffset == 1 && spec.hasQueryKeyNorm)

        let cases = try #require(try golden("embedding")["cases"]?.arrayValue)
        let texts = cases.map { $0["text"]?.stringValue ?? "" }
        for (text, entry) in zip(texts, cases) {
            #expect(embedder.tokenizer.encode(text) == (entry["ids"]?.arrayValue ?? []).compactMap(\.integerValue))
        }
        let (expected, width) = try matrix("embedding-vectors")
        let vectors = try embedder.embed(texts).vectors
        #expect(vectors.dimensions == width)
        for row in 0..<texts.count {
            let cosine = zip(vectors[row], expected[row * width..<(row + 1) * width]).reduce(0) { $0 + Double($1.0) * Double($1.1) }
            #expect(cosine > 0.9999, "text \(row)")
        }
        #expect(embedder.promptNames.contains("query"))
    }
}
