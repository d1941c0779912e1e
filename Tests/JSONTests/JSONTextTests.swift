import JSON
import Testing

@Suite struct JSONTextTests {
    @Test(arguments: [
        "null", "true", "-12", "1.5", "1e-05", "\"a\\\"b\\\\c\\nd\\u0001é\\u007f\"", "[]", "{}", "[1, [2, {\"b\": 1, \"a\": [null, false]}]]",
    ])
    func whatIsWrittenReadsBack(text: String) throws {
        let value = try JSONValue(parsing: text)
        #expect(try JSONValue(parsing: value.text) == value)
        #expect(value.text == text)
    }

    @Test func noNumberOfJSON() {
        #expect(JSONValue.array([.double(.nan), .double(.infinity)]).text == "[null, null]")
    }
}
