import Foundation
import JSON
import Testing
import Tokenizers

/// Holds our ids and texts against those of the Python package on thousands of generated strings, for the real vocabularies.
///
///     APUS_PYTHON=/path/to/python swift test --filter DifferentialTests
///
/// `APUS_TOKENIZER_SEEDS` ("1,2,3") and `APUS_TOKENIZER_COUNT` choose others than seed 1 and 10,000 strings.
@Suite struct DifferentialTests {
    static let python = ProcessInfo.processInfo.environment["APUS_PYTHON"]
    static let seeds = (ProcessInfo.processInfo.environment["APUS_TOKENIZER_SEEDS"] ?? "1").split(separator: ",").compactMap { Int($0) }
    static let count = ProcessInfo.processInfo.environment["APUS_TOKENIZER_COUNT"].flatMap { Int($0) } ?? 10_000

    @Test(
        .enabled(if: python != nil, "set APUS_PYTHON to a Python that has the package tokenizers 0.23"),
        .enabled(if: SharedData.exists("qwen3-tokenizer"), "the real vocabularies in ../shared/data are not here"),
        arguments: ["qwen3-tokenizer", "spm-gemma-style-tokenizer", "spm-llama-style-tokenizer"], seeds)
    func equalsTheReference(name: String, seed: Int) throws {
        let path = SharedData.path("\(name)/tokenizer.json")
        try compare(path, seed: seed, count: Self.count)
    }

    @Test(
        .enabled(if: python != nil, "set APUS_PYTHON to a Python that has the package tokenizers 0.23"),
        arguments: Goldens.tokenizerNames, seeds)
    func equalsTheReferenceForSmallVocabularies(name: String, seed: Int) throws {
        try compare(Goldens.path("\(name).json"), seed: seed, count: Self.count / 5)
    }

    @Test(.enabled(if: python != nil, "set APUS_PYTHON to a Python that has the package tokenizers 0.23"), arguments: Goldens.tokenizerNames)
    func equalsTheReferenceForEveryScalar(name: String) throws {
        try compare(Goldens.path("\(name).json"), seed: 0, count: 0)
    }

    /// Random combinations of all supported steps.
    @Test(.enabled(if: python != nil, "set APUS_PYTHON to a Python that has the package tokenizers 0.23"), arguments: seeds)
    func equalsTheReferenceForRandomTokenizers(seed: Int) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("apus-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let count = max(1, Self.count / 100)
        try run([Goldens.path("variants.py"), "\(seed)", "\(count)", "100", folder.path])
        for number in 0..<count {
            let path = folder.appendingPathComponent("variant-\(number)").path
            do {
                let tokenizer = try Tokenizer(contentsOf: "\(path).json")
                try compare(tokenizer, with: URL(fileURLWithPath: "\(path).jsonl"), "seed \(seed), variant \(number)")
            } catch let error as TokenizerError {
                Issue.record("seed \(seed), variant \(number): \(error)")
            }
        }
    }

    /// Random patterns: what is not refused matches what the reference matches.
    @Test(.enabled(if: python != nil, "set APUS_PYTHON to a Python that has the package tokenizers 0.23"), arguments: seeds)
    func patternsMatchLikeTheReference(seed: Int) throws {
        let output = FileManager.default.temporaryDirectory.appendingPathComponent("apus-\(UUID().uuidString).jsonl")
        defer { try? FileManager.default.removeItem(at: output) }
        try run([Goldens.path("patterns.py"), "\(seed)", "\(Self.count)", output.path])
        var compared = 0
        var differences = 0
        for line in try Data(contentsOf: output).split(separator: UInt8(ascii: "\n")) {
            let value = try JSONValue(parsing: Array(line))
            let text = try #require(value["pattern"]?.stringValue)
            guard let pattern = try? Pattern(text), let cases = value["cases"]?.arrayValue else { continue }
            for item in cases {
                compared += 1
                let subject = try #require(item["text"]?.stringValue)
                let bytes = Array(subject.utf8)
                let ours = pattern.matches(in: subject).filter { !$0.isEmpty }.map { match in
                    [match.lowerBound, match.upperBound].map { end in bytes[..<end].count { $0 & 0xC0 != 0x80 } }
                }
                let theirs = item["matches"]?.arrayValue?.map { $0.arrayValue?.compactMap(\.integerValue) ?? [] } ?? []
                if ours != theirs {
                    differences += 1
                    if differences < 20 {
                        Issue.record("\(text.debugDescription) in \(subject.debugDescription): \(ours), reference \(theirs)")
                    }
                }
            }
        }
        #expect(differences == 0, "seed \(seed): \(differences) differences in \(compared) cases")
        #expect(compared > Self.count / 2)
    }

    private func run(_ arguments: [String]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try #require(Self.python))
        process.arguments = ["-B"] + arguments
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
    }

    private func compare(_ path: String, seed: Int, count: Int) throws {
        let output = FileManager.default.temporaryDirectory.appendingPathComponent("apus-\(UUID().uuidString).jsonl")
        defer { try? FileManager.default.removeItem(at: output) }
        try run([Goldens.path("compare.py"), path, "\(seed)", "\(count)", output.path])
        let lines = try compare(try Tokenizer(contentsOf: path), with: output, "\(path), seed \(seed)")
        #expect(lines > count)
    }

    /// Returns the number of cases.
    @discardableResult
    private func compare(_ tokenizer: Tokenizer, with output: URL, _ what: String) throws -> Int {
        var differences = 0
        var lines = 0
        for line in try Data(contentsOf: output).split(separator: UInt8(ascii: "\n")) {
            let value = try JSONValue(parsing: Array(line))
            lines += 1
            let found = Goldens.differences(value, tokenizer)
            differences += found.count
            if differences < 20 {
                for difference in found { Issue.record("\(what): \(difference)") }
            }
        }
        #expect(differences == 0, "\(what): \(differences) differences in \(lines) cases")
        return lines
    }
}
