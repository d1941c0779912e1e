import Foundation
import Tensors
import Testing

/// Bad files: each fault has its own error, which says what is wrong and where.
@Suite struct SafetensorsFaultTests {
    /// A header with its data, what must come of it, and words of the message.
    struct Fault: CustomTestStringConvertible, Sendable {
        var header: String
        var dataByteCount = 0
        var headerLength: UInt64?
        var code: TensorError.Code
        var words: [String] = []
        var testDescription: String { String(header.prefix(100)) }
    }

    static let faults: [Fault] = [
        // Length.
        Fault(header: "{}", headerLength: 0, code: .headerLength),
        Fault(header: "{}", headerLength: 100_000_001, code: .headerLength, words: ["100000001"]),
        Fault(header: "{}", headerLength: .max, code: .headerLength),
        Fault(header: "{}", headerLength: 1 << 63, code: .headerLength),
        Fault(header: "{}", headerLength: 3, code: .truncated, words: ["11", "10"]),
        // JSON.
        Fault(header: "[]", code: .header, words: ["offset 8"]),
        Fault(header: " {}", code: .header),
        Fault(header: "null", code: .header),
        Fault(header: #"{"a":}"#, code: .header, words: ["offset 13"]),
        Fault(header: #"{"a":{"dtype":"F32""#, code: .header),
        Fault(header: "{}{}", code: .header),
        Fault(header: "{\"\u{FFFF}\":3,}", code: .header),
        Fault(header: #"{"a":3}"#, code: .header, words: ["'a'"]),
        Fault(header: #"{"a":null}"#, code: .header),
        Fault(header: "{\"a\":" + String(repeating: "[", count: 100_000), code: .header),
        Fault(header: "{\"a\":{\"x\":" + String(repeating: "[", count: 100_000), code: .header, words: ["nested"]),
        // Names.
        Fault(
            header: #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#,
            dataByteCount: 2, code: .duplicateName, words: ["'a'"]),
        Fault(
            header: #"{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, dataByteCount: 1, code: .duplicateName,
            words: ["dtype"]),
        Fault(header: #"{"a":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}}"#, dataByteCount: 1, code: .duplicateName),
        Fault(header: #"{"__metadata__":{},"__metadata__":{}}"#, code: .duplicateName),
        Fault(header: #"{"__metadata__":{"k":"1","k":"2"}}"#, code: .duplicateName, words: ["'k'"]),
        // Metadata.
        Fault(header: #"{"__metadata__":[]}"#, code: .metadata),
        Fault(header: #"{"__metadata__":null}"#, code: .metadata),
        Fault(header: #"{"__metadata__":{"k":1}}"#, code: .metadata, words: ["'k'"]),
        Fault(header: #"{"__metadata__":{"k":null}}"#, code: .metadata),
        Fault(header: #"{"__metadata__":{"k":{"l":"m"}}}"#, code: .metadata),
        // Type.
        Fault(header: tensor(dtype: "\"F31\""), dataByteCount: 4, code: .dataType, words: ["'F31'", "BF16", "'a'"]),
        Fault(header: tensor(dtype: "\"f32\""), dataByteCount: 4, code: .dataType),
        Fault(header: tensor(dtype: "4"), dataByteCount: 4, code: .dataType),
        // Shape.
        Fault(header: tensor(shape: "[-1]"), dataByteCount: 4, code: .shape, words: ["'a'"]),
        Fault(header: tensor(shape: "[-1,-1]"), dataByteCount: 4, code: .shape),
        Fault(header: tensor(shape: "[-0]"), code: .shape),
        Fault(header: tensor(shape: "[1.0]"), dataByteCount: 4, code: .shape),
        Fault(header: tensor(shape: "[1.5]"), dataByteCount: 4, code: .shape),
        Fault(header: tensor(shape: "[1e0]"), dataByteCount: 4, code: .shape),
        Fault(header: tensor(shape: "[9223372036854775807]"), dataByteCount: 4, code: .shape, words: ["overflows"]),
        Fault(header: tensor(shape: "[9223372036854775808]"), dataByteCount: 4, code: .shape),
        Fault(header: tensor(shape: "[4294967296,4294967296]"), dataByteCount: 4, code: .shape),
        Fault(header: tensor(shape: "[4294967296,4294967296,0]"), dataByteCount: 4, code: .shape),
        Fault(header: tensor(shape: "[4611686018427387904]"), dataByteCount: 4, code: .shape),
        Fault(header: tensor(shape: "[" + String(repeating: "1,", count: 64) + "1]"), dataByteCount: 4, code: .shape, words: ["64"]),
        Fault(header: tensor(shape: "[\"1\"]"), dataByteCount: 4, code: .shape),
        Fault(header: tensor(shape: "[[1]]"), dataByteCount: 4, code: .shape),
        Fault(header: tensor(shape: "1"), dataByteCount: 4, code: .shape),
        // Offsets.
        Fault(header: tensor(offsets: "[0]"), dataByteCount: 4, code: .offsets),
        Fault(header: tensor(offsets: "[0,4,4]"), dataByteCount: 4, code: .offsets),
        Fault(header: tensor(offsets: "[4,0]"), dataByteCount: 4, code: .offsets, words: ["'a'", "[4, 0]"]),
        Fault(header: tensor(offsets: "[-4,0]"), dataByteCount: 4, code: .offsets),
        Fault(header: tensor(offsets: "[0,3]"), dataByteCount: 3, code: .offsets, words: ["3 bytes", "needs 4"]),
        Fault(header: tensor(offsets: "[0,8]"), dataByteCount: 8, code: .offsets),
        Fault(header: tensor(offsets: "[0,18446744073709551615]"), dataByteCount: 8, code: .offsets),
        Fault(header: tensor(offsets: "[9223372036854775803,9223372036854775807]"), dataByteCount: 4, code: .offsets, words: ["overflow"]),
        Fault(header: tensor(offsets: "{}"), dataByteCount: 4, code: .offsets),
        // What is missing.
        Fault(header: #"{"a":{"shape":[1],"data_offsets":[0,4]}}"#, dataByteCount: 4, code: .header, words: ["dtype", "'a'"]),
        Fault(header: #"{"a":{"dtype":"F32","data_offsets":[0,4]}}"#, dataByteCount: 4, code: .header, words: ["shape"]),
        Fault(header: #"{"a":{"dtype":"F32","shape":[1]}}"#, dataByteCount: 4, code: .header, words: ["data_offsets"]),
        // Coverage.
        Fault(header: pair("[0,4]", "[2,6]"), dataByteCount: 6, code: .overlap, words: ["'a'", "'b'"]),
        Fault(header: pair("[0,4]", "[0,4]"), dataByteCount: 4, code: .overlap),
        Fault(header: pair("[4,8]", "[0,4]").replacing("[0,4]", with: "[1,5]"), dataByteCount: 8, code: .gap, words: ["1 bytes", "'b'"]),
        Fault(header: pair("[0,4]", "[5,9]"), dataByteCount: 9, code: .gap, words: ["'b'"]),
        Fault(header: tensor(offsets: "[4,8]"), dataByteCount: 8, code: .gap),
        Fault(header: tensor(shape: "[0]", offsets: "[2,2]"), dataByteCount: 2, code: .gap),
        Fault(header: tensor(), dataByteCount: 3, code: .truncated, words: ["'a'", "file has"]),
        Fault(header: tensor(), dataByteCount: 0, code: .truncated),
        Fault(
            header: tensor(shape: "[1152921504606846976]", offsets: "[0,4611686018427387904]"), dataByteCount: 4, code: .truncated),
        Fault(header: tensor(), dataByteCount: 5, code: .trailingBytes, words: ["1 more"]),
        Fault(header: "{}", dataByteCount: 1, code: .trailingBytes),
    ]

    private static func tensor(dtype: String = "\"F32\"", shape: String = "[1]", offsets: String = "[0,4]") -> String {
        "{\"a\":{\"dtype\":\(dtype),\"shape\":\(shape),\"data_offsets\":\(offsets)}}"
    }

    private static func pair(_ first: String, _ second: String) -> String {
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":\(first)},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":\(second)}}"
    }

    @Test(arguments: faults) func everyFaultHasItsError(fault: Fault) throws {
        let data = TestFiles.safetensors(fault.header, dataByteCount: fault.dataByteCount, headerLength: fault.headerLength)
        let error = try TestFiles.error { _ = try SafetensorsFile(data: data, name: "some.safetensors") }
        #expect(error.code == fault.code, "\(error)")
        #expect(error.description.hasPrefix("some.safetensors: "))
        for word in fault.words { #expect(error.message.contains(word), "\(error) does not say '\(word)'") }
    }

    @Test func aFileCutAnywhereIsRefused() throws {
        let whole = try Data(contentsOf: URL(fileURLWithPath: TestFiles.golden("types.safetensors")))
        for count in 0..<whole.count {
            let error = try TestFiles.error { _ = try SafetensorsFile(data: whole.prefix(count), name: "cut") }
            #expect(error.code == .truncated, "cut to \(count) bytes: \(error)")
            #expect(error.message.contains("\(count)"), "cut to \(count) bytes: \(error)")
        }
    }

    @Test func aNameFromTheFileCannotFloodTheMessage() throws {
        let name = String(repeating: "x", count: 100_000) + #"\u001b[31m"#
        let data = TestFiles.safetensors("{\"\(name)\":3}")
        let error = try TestFiles.error { _ = try SafetensorsFile(data: data, name: "flood") }
        #expect(error.description.utf8.count < 500)
        let escape = TestFiles.safetensors(#"{"\u001b[31m":3}"#)
        #expect(!(try TestFiles.error { _ = try SafetensorsFile(data: escape, name: "escape") }).description.contains("\u{1B}"))
    }

    @Test(
        .timeLimit(.minutes(1)),
        arguments: ["{\"#\":{}}", "{\"__metadata__\":{\"#\":\"\"}}", "{\"a\":{\"F#\":1}}", "{\"a\":{\"dtype\":\"F#\"}}"])
    func textOfCombiningMarksDoesNotHang(pattern: String) throws {
        let marks = String(repeating: "\u{301}\u{323}", count: 50_000)
        let data = TestFiles.safetensors(pattern.replacing("#", with: marks))
        let duration = ContinuousClock().measure { _ = try? SafetensorsFile(data: data, name: "marks") }
        #expect(duration < .seconds(1))
    }
}
