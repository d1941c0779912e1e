import Apus
import CUDA
import Foundation
import Testing
import Tokenizers

@Suite struct EmbedderTests {
    @Test func vectorsComeInTheOrderOfTheTexts() async throws {
        try await TinyModel.withFolder(TinyModel.encoder) { folder in
            let embedder = try await Embedder(folder)
            let texts = ["one", "a much longer text than the others", "", "two", "one", "ä😀"]
            let result = try embedder.embed(texts, options: EmbeddingOptions(tokenBudget: 16))
            #expect(result.vectors.count == texts.count)
            #expect(result.vectors.dimensions == 24)
            for (index, text) in texts.enumerated() {
                let alone = try embedder.embed([text]).vectors
                let cosine = zip(alone[0], result.vectors[index]).reduce(0) { $0 + $1.0 * $1.1 }
                #expect(cosine > 0.99999, "\(text)")
            }
            #expect(result.vectors.similarity(0, 4) > 0.99999)
            #expect(result.vectors.similarity(0, 3) < 0.999)
        }
    }

    @Test func overlongTextsAreCutOrRefused() async throws {
        try await TinyModel.withFolder(TinyModel.encoder) { folder in
            let embedder = try await Embedder(folder)
            let long = String(repeating: "abcdefgh", count: 20)
            let result = try embedder.embed(["short", long])
            #expect(result.cutTexts == [1])
            // bos, 63 letters: the cut keeps the special tokens that the tokenizer adds.
            let bare = String(long.prefix(embedder.maximumTokens - (embedder.tokenizer.encode("").count)))
            #expect(try embedder.embed([bare]).vectors == embedder.embed([long]).vectors)
            let error = #expect(throws: ApusError.self) { try embedder.embed([long], options: EmbeddingOptions(overlong: .refuse)) }
            #expect(error?.code == .inputTooLong)
        }
    }

    @Test func promptsComeFromTheFolder() async throws {
        try await TinyModel.withFolder(TinyModel.encoder) { folder in
            for (file, text) in [
                (
                    "modules.json",
                    #"[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}, {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}, {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]"#
                ),
                ("1_Pooling/config.json", #"{"word_embedding_dimension": 24, "pooling_mode_mean_tokens": true}"#),
                ("config_sentence_transformers.json", #"{"prompts": {"query": "find: "}, "default_prompt_name": null}"#),
            ] {
                let url = URL(fileURLWithPath: folder + "/" + file)
                try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
                try Data(text.utf8).write(to: url)
            }
            let embedder = try await Embedder(folder)
            #expect(embedder.promptNames == ["query"])
            let named = try embedder.embed(["x"], options: EmbeddingOptions(prompt: .named("query"))).vectors
            #expect(try named == embedder.embed(["find: x"]).vectors)
            #expect(try named == embedder.embed(["x"], options: EmbeddingOptions(prompt: .text("find: "))).vectors)
            let error = #expect(throws: ApusError.self) { try embedder.embed(["x"], options: EmbeddingOptions(prompt: .named("nope"))) }
            #expect(error?.code == .unknownPrompt)
            #expect(error?.message.contains("query") == true)
        }
    }

    @Test func batchesRespectTheBudgetAndMissNoText() {
        let lengths = [5, 1, 9, 3, 3, 30, 2]
        let plan = BatchPlan(lengths: lengths, tokenBudget: 10)
        #expect(plan.batches.flatMap { $0 }.sorted() == Array(lengths.indices))
        for batch in plan.batches {
            let tokens = batch.reduce(0) { $0 + lengths[$1] }
            #expect(tokens <= 10 || batch.count == 1)
        }
        #expect(BatchPlan(lengths: [], tokenBudget: 10).batches.isEmpty)
    }

    @Test func devicesAreReadByName() throws {
        #expect(try DeviceSelection("auto") == .automatic)
        #expect(try DeviceSelection("cuda:3") == .cuda(3))
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:x"] { #expect(throws: CUDAError.self) { try DeviceSelection(text) } }
    }

    @Test func aGPUThatIsNotSupportedIsSaid() async throws {
        try await TinyModel.withFolder(TinyModel.encoder) { (folder: String) async throws -> Void in
            // Without a GPU the driver's absence is the error; with one, that models do not run on it yet.
            await #expect(throws: (any Error).self) { try await Embedder(folder, options: ModelOptions(device: .cuda(0))) }
        }
    }
}
