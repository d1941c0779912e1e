import JSON
import Testing
import Tokenizers

/// Ids and texts of small tokenizers of every form, against goldens from the Python package.
@Suite struct GoldenTests {
    @Test(arguments: Goldens.tokenizerNames)
    func equalsTheReference(name: String) throws {
        let tokenizer = try Goldens.tokenizer(name)
        let cases = try #require(try JSONValue(parsing: Goldens.bytes("\(name).cases.json"))["cases"]?.arrayValue)
        #expect(cases.count > 300)
        var differences: [String] = []
        for value in cases { differences += Goldens.differences(value, tokenizer) }
        #expect(differences.count == 0, "\(differences.prefix(10).joined(separator: "\n"))")
    }
}
