import ChatTemplates
import JSON
import OrderedCollections
import Testing

@Suite("Errors name their kind and line")
struct TemplateErrorTests {
    private static func error(_ source: String, _ limits: TemplateLimits = TemplateLimits()) -> ChatTemplateError? {
        let context: JSONObject = ["l": .array([.integer(1), .integer(2)]), "s": .string("text"), "n": .integer(5)]
        do throws(ChatTemplateError) {
            _ = try Template(source, limits: limits).render(context: context)
            return nil
        } catch {
            return error
        }
    }

    @Test(
        "by code and line",
        arguments: [
            ("\n\n{{ missing.x }}", ChatTemplateError.Code.undefined, 3),
            ("{% if true %}\n{{ 1 + 'a' }}{% endif %}", .type, 2),
            ("a\n{{ 1 // 0 }}", .value, 2),
            ("{{ 'abc'.split('') }}", .value, 1),
            ("\n{{ l.append(1) }}", .security, 2),
            ("{% set ns = namespace() %}\n{% set ns._x = 1 %}", .security, 2),
            ("\n{% for x in l %}\n{{ raise_exception('no ' ~ x) }}{% endfor %}", .raised, 3),
            ("{{ 9223372036854775807 + 1 }}", .integerRange, 1),
            ("\n{{ 10 ** 19 }}", .integerRange, 2),
            ("{{ 99999999999999999999 }}", .integerRange, 1),
            ("\n{% include 'x' %}", .unsupported, 2),
            ("{% for x in l recursive %}{% endfor %}", .unsupported, 1),
            ("\n\n{{ l|random }}", .unsupported, 3),
            ("{{ l|reverse }}", .unsupported, 1),
            ("{{ s.upper }}", .unsupported, 1),
            ("{{ (-8) ** 0.5 }}", .unsupported, 1),
            ("\n{{ s|nosuch }}", .syntax, 2),
            ("\n\n{% nosuch %}", .syntax, 3),
            ("{% if true %}\n\n", .syntax, 2),
            ("{{ 'open }}", .syntax, 1),
            ("\n{% macro m() %}\n{{ missing + 1 }}{% endmacro %}\n{{ m() }}", .undefined, 3),
        ] as [(String, ChatTemplateError.Code, Int)])
    func codes(_ source: String, _ code: ChatTemplateError.Code, _ line: Int) throws {
        let error = try #require(Self.error(source))
        #expect(error.code == code, "\(error)")
        #expect(error.line == line, "\(error)")
        #expect(!error.message.isEmpty)
    }

    @Test("the template's own message goes through as it is")
    func raisedMessage() throws {
        let error = try #require(Self.error("{{ raise_exception('Roles must alternate: ' ~ l) }}"))
        #expect(error.message == "Roles must alternate: [1, 2]")
        #expect(error.description == "chat template, line 1: Roles must alternate: [1, 2]")
    }
}
