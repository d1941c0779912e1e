import JSON

extension FuzzTarget {
    /// The JSON value and the skipping reader, which must agree, and the value's own text.
    static let json = FuzzTarget(
        name: "json",
        seeds: [
            #"{"a":1,"b":[true,false,null],"c":{"d":"e","f":-1.5e-3}}"#, #"[1,2,3,[4,[5,[6]]],"x\n\u0041\ud83d\ude00",""]"#,
            "  {\"é\": \"日本 🕊\"}\r\n",
            #""text""#, "0", "-12.5e+3", "[]", "{}", #"[{"id":0,"content":"<s>","special":true},{"id":1,"content":"a\"b\\c\/d","special":false}]"#,
            #"{"vocab":{"a":0,"b":1,"ab":2},"merges":["a b",["a","b"]],"big":9223372036854775807,"small":1e-300}"#,
        ].map { Array($0.utf8) },
        format: .json,
        dictionary: ["a", "b", "vocab", "\u{301}"],
        statedMemoryMultiple: 64,
        run: { input in
            var reader = JSONReader(input)
            var isSkipped = false
            do throws(JSONError) {
                try reader.skipValue()
                try reader.finish()
                isSkipped = true
            } catch {
                guard (0...input.count).contains(error.offset) else { throw FuzzViolation("the error's offset lies outside the text: \(error)") }
            }
            let value: JSONValue
            do throws(JSONError) {
                value = try JSONValue(parsing: input)
            } catch {
                guard (0...input.count).contains(error.offset) else { throw FuzzViolation("the error's offset lies outside the text: \(error)") }
                throw error
            }
            guard isSkipped else { throw FuzzViolation("a text was read that skipping refuses") }
            // The text of the value is a value again, and the same text (numbers beyond a double are null in it).
            let text = value.text
            guard let again = try? JSONValue(parsing: text), again.text == text else {
                throw FuzzViolation("a value's text does not read back: \(text.prefix(200))")
            }
        })
}
