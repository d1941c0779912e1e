import JSON
import OrderedCollections
import Testing

/// What the goldens cannot say: bounds, error codes and offsets, bytes that are no text, and the pull interface.
@Suite struct JSONReaderTests {
    private func error(_ text: String) -> JSONError? { error(Array(text.utf8)) }

    private func error(_ bytes: [UInt8]) -> JSONError? {
        do throws(JSONError) {
            _ = try JSONValue(parsing: bytes)
            return nil
        } catch {
            return error
        }
    }

    @Test(arguments: [
        ("", JSONError.Code.truncated, 0), ("  ", .truncated, 2), ("[1,", .truncated, 3), ("\"ab", .truncated, 3),
        ("\"\\u12", .truncated, 3),
        ("[1,]", .syntax, 3), ("{\"a\":1,}", .syntax, 7), ("[1 2]", .syntax, 3), ("1 2", .syntax, 2), ("01", .syntax, 0),
        ("{1:2}", .syntax, 1),
        ("\"\u{1}\"", .syntax, 1), ("\"\\q\"", .syntax, 1), ("\"\\ud800\"", .encoding, 1), ("nul", .syntax, 0), ("[NaN]", .syntax, 1),
    ])
    func errorsSayWhatAndWhere(text: String, code: JSONError.Code, offset: Int) {
        #expect(error(text)?.code == code, "\(String(describing: error(text)))")
        #expect(error(text)?.offset == offset, "\(String(describing: error(text)))")
    }

    @Test func depthIsBounded() throws {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            func nested(_ depth: Int) -> [UInt8] {
                Array((String(repeating: open, count: depth) + "1" + String(repeating: close, count: depth)).utf8)
            }
            #expect(error(nested(128)) == nil)
            #expect(error(nested(129))?.code == .depth)
            #expect(error(nested(1_000_000))?.code == .depth)
            #expect(throws: JSONError.self) { try JSONValue(parsing: nested(4), maximumDepth: 3) }
            #expect(throws: Never.self) { try JSONValue(parsing: nested(3), maximumDepth: 3) }
            var reader = JSONReader(nested(129))
            #expect(throws: JSONError.self) { try reader.skipValue() }
        }
    }

    @Test(
        arguments: [
            [0xFF], [0x80], [0xC0, 0xAF], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xC3], [0xF0, 0x9F, 0x95],
        ] as [[UInt8]])
    func textMustBeUTF8(bytes: [UInt8]) {
        let quote = UInt8(ascii: "\"")
        #expect(error([quote] + bytes + [quote])?.code == .encoding)
        // The same behind an escape, which is read by another path.
        #expect(error([quote, UInt8(ascii: "\\"), UInt8(ascii: "n")] + bytes + [quote])?.code == .encoding)
        #expect(error([UInt8(ascii: "{"), quote] + bytes + [quote] + Array(":1}".utf8))?.code == .encoding)
        #expect(error(bytes)?.code == .syntax)
    }

    @Test func aByteOrderMarkIsPassedOver() throws {
        #expect(try JSONValue(parsing: [0xEF, 0xBB, 0xBF] + Array("1".utf8)) == .integer(1))
        #expect(error([0xEF, 0xBB, 0xBF])?.code == .truncated)
        #expect(error([0xEF, 0xBB])?.code == .syntax)
        #expect(error(Array(" ".utf8) + [0xEF, 0xBB, 0xBF])?.code == .syntax)
    }

    @Test func keysKeepTheirOrder() throws {
        let value = try JSONValue(parsing: #"{"z":1,"a":2,"m":3,"a":4}"#)
        #expect(value.objectValue.map { Array($0.keys) } == ["z", "a", "m"])
        #expect(value["a"] == .integer(4))
        #expect(value["b"] == nil)
        #expect(JSONValue.integer(1)["a"] == nil)
    }

    @Test func numbersAreCheckedForTheTypeAskedFor() throws {
        func integer(_ text: String) -> Result<Int, JSONError> {
            var reader = JSONReader(Array(text.utf8))
            return Result { () throws(JSONError) in try reader.readInteger() }
        }
        #expect(try integer("1e3").get() == 1000)
        #expect(try integer(" 7.0 ").get() == 7)
        #expect(try integer("-9223372036854775808").get() == .min)
        for text in ["1.5", "1e300", "9223372036854775808", "1e400"] {
            #expect(throws: JSONError.self, "\(text)") { try integer(text).get() }
        }
        #expect(throws: JSONError.self) { try integer("\"1\"").get() }
    }

    @Test func valuesArePulledOneByOne() throws {
        var reader = JSONReader(Array(#" {"skip":[{"x":[1,2,"]"]},null],"é\n":[1,true,"a","b"],"last":{}} "#.utf8))
        var keys: [String] = []
        var text: [UInt8] = []
        try reader.beginObject()
        while let key = try reader.nextKey() {
            keys.append(key)
            guard key == "é\n" else {
                try reader.skipValue()
                continue
            }
            try reader.beginArray()
            #expect(try reader.nextElement())
            #expect(try reader.peekKind() == .number)
            #expect(throws: JSONError.self) { try reader.readString() }
            #expect(try reader.readInteger() == 1)
            #expect(try reader.nextElement())
            #expect(try reader.readBool())
            while try reader.nextElement() { try reader.readString(appendingTo: &text) }
        }
        try reader.finish()
        #expect(keys == ["skip", "é\n", "last"])
        #expect(text == Array("ab".utf8))
    }

    @Test(.timeLimit(.minutes(1))) func aKeyOfCombiningMarksDoesNotHang() {
        let marks = String(repeating: "\u{301}\u{323}", count: 200_000)
        let duration = ContinuousClock().measure { #expect(error("{\"a\(marks)\":1}")?.code == .range) }
        #expect(duration < .seconds(2))
        // What scripts really stack is read, and marks may be many where letters stand between them.
        #expect(error("{\"a\(String(repeating: "\u{301}\u{323}", count: 30))\":1}") == nil)
        #expect(error("{\"\(String(repeating: "e\u{301}", count: 10_000))\":1}") == nil)
    }
}
