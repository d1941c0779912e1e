import Foundation
import JSON
import OrderedCollections
import Testing

/// The reader against Python's `json` on two thousand texts, good and bad.
@Suite struct JSONGoldenTests {
    private struct Case {
        let line: Int
        let text: [UInt8]
        let expected: String
    }

    private func cases() throws -> [Case] {
        let url = try #require(Bundle.module.url(forResource: "Goldens", withExtension: nil)).appendingPathComponent("cases.txt")
        return try String(contentsOf: url, encoding: .utf8).split(separator: "\n").enumerated().map { index, line in
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
            return Case(line: index + 1, text: [UInt8](try #require(Data(base64Encoded: String(fields[0])))), expected: String(fields[1]))
        }
    }

    @Test func valuesAreThoseOfPython() throws {
        let cases = try cases()
        #expect(cases.count > 1500)
        for test in cases {
            let found = (try? JSONValue(parsing: test.text)).map(plain) ?? "error"
            #expect(found == test.expected, "line \(test.line): \(String(decoding: test.text, as: UTF8.self))")
        }
    }

    @Test func skippingChecksTheSameGrammar() throws {
        for test in try cases() {
            #expect(isSkipped(test.text) == (test.expected != "error"), "line \(test.line): \(String(decoding: test.text, as: UTF8.self))")
        }
    }

    private func isSkipped(_ text: [UInt8]) -> Bool {
        var reader = JSONReader(text)
        do throws(JSONError) {
            try reader.skipValue()
            try reader.finish()
            return true
        } catch {
            return false
        }
    }

    /// Every strict prefix of a container is an error whose offset lies inside the text.
    @Test func errorsLieInsideTheText() throws {
        for test in try cases() where test.text.count < 200 {
            for count in 0...test.text.count {
                do throws(JSONError) {
                    _ = try JSONValue(parsing: Array(test.text[..<count]))
                } catch {
                    #expect((0...count).contains(error.offset), "line \(test.line), \(count) bytes")
                }
            }
        }
    }

    /// The form that the goldens are written in.
    private func plain(_ value: JSONValue) -> String {
        switch value {
        case .null: return "n"
        case .bool(let value): return value ? "t" : "f"
        case .integer(let value): return "i\(value)"
        case .double(let value):
            let digits = String(value.bitPattern, radix: 16)
            return "d" + String(repeating: "0", count: 16 - digits.count) + digits
        case .string(let value): return "s" + hex(value)
        case .array(let elements): return "[" + elements.map(plain).joined(separator: ",") + "]"
        case .object(let members): return "{" + members.map { "s\(hex($0.key)):\(plain($0.value))" }.joined(separator: ",") + "}"
        }
    }

    private func hex(_ text: String) -> String {
        text.utf8.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
