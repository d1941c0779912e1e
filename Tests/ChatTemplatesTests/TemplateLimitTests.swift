import ChatTemplates
import JSON
import OrderedCollections
import Testing

@Suite("Hostile templates end in an error")
struct TemplateLimitTests {
    private static let bombs = [
        // Work
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f(n) %}{{ f(n + 1) }}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
        "{% macro f() %}{% if true %}{% for x in [1] %}{% with %}{{ [[f()]] }}{% endwith %}{% endfor %}{% endif %}{% endmacro %}{{ f() }}",
        "{% set l = range(100000)|list %}{% for a in l %}{{ l == l }}{% endfor %}",
        "{% set l = range(100000)|list %}{% for a in l %}{{ 'x' in l }}{% endfor %}",
        "{% set l = range(100000)|list %}{% for a in l %}{{ l|sort }}{% endfor %}",
        "{% set s = 'a' * 1000000 %}{% for a in range(100000) %}{{ s.find('aaaaaaaaaaaaaaaaab') }}{% endfor %}",
        "{% set s = 'a' * 1000000 %}{{ s.find('a' * 500000 ~ 'b') }}{% for a in range(100000) %}{{ s.find('a' * 500000 ~ 'b') }}{% endfor %}",
        // Memory
        "{{ 'a' * 999999999999 }}", "{{ [0] * 999999999999 }}", "{{ (0,) * 9223372036854775807 }}", "{{ 'a'.ljust(999999999999) }}",
        "{{ 'a'.center(9223372036854775807) }}", "{{ '%999999999999d' % 1 }}", "{{ '%.999999f' % 1.5 }}", "{{ '{:>999999999}'.format(1) }}",
        "{{ 'a\nb'|indent(9999999999) }}", "{{ [1]|batch(99999999999, 0)|list }}", "{{ [1]|slice(99999999999, 0)|list }}",
        "{{ [1]|tojson(indent=99999999999) }}", "{{ 'a\tb'.expandtabs(99999999999) }}", "{{ 1.5|round(99999999999) }}{{ 1 // 0 }}",
        "{{ 'ab'.replace('', 'x' * 100000).replace('', 'y' * 100000) }}", "{{ ('x' * 100000).join('a' * 100000) }}",
        "{% set ns = namespace(s='a') %}{% for x in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{% set ns = namespace(s='a') %}{% for x in range(99) %}{% set ns.s = ns.s.replace('a', 'aa') %}{% endfor %}",
        "{% set ns = namespace(s=[1]) %}{% for x in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{% for x in range(100000) %}{{ 'a' * 100000 }}{% endfor %}",
        // Depth
        "{% set ns = namespace(x=1) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=1) %}{% for i in range(100000) %}{% set ns.x = {'a': ns.x} %}{% endfor %}{{ ns.x|tojson }}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(100000) %}{% set ns.x = ns.x|map('string') %}{% endfor %}{{ ns.x|list }}",
        "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}",
        "{% set a = namespace() %}{% set b = namespace(a=a) %}{% set a.b = b %}{{ [a] }}",
        "{{ " + String(repeating: "(", count: 100_000), "{{ " + String(repeating: "[", count: 100_000),
        "{{ " + String(repeating: "not ", count: 100_000) + "x }}", "{{ " + String(repeating: "-", count: 100_000) + "1 }}",
        "{{ x" + String(repeating: ".a", count: 100_000) + " }}", "{{ x" + String(repeating: "|e", count: 100_000) + " }}",
        "{{ 1" + String(repeating: " + 1", count: 100_000) + " }}", "{{ x" + String(repeating: " if x else x", count: 80_000) + " }}",
        "{{ x" + String(repeating: " or x", count: 100_000) + " }}{{ 1 // 0 }}", "{{ x" + String(repeating: "()", count: 100_000) + " }}",
        String(repeating: "{% if x %}", count: 50_000), String(repeating: "{% for x in y %}", count: 50_000),
        "{% set x" + String(repeating: "|e", count: 100_000) + " %}{% endset %}",
        "{% filter e" + String(repeating: "|e", count: 100_000) + " %}{% endfilter %}", String(repeating: "a", count: 2_000_000),
    ]

    @Test("within the limits", arguments: bombs.indices)
    func bomb(_ index: Int) {
        let source = Self.bombs[index]
        var limits = TemplateLimits()
        limits.steps = 2_000_000
        #expect(throws: ChatTemplateError.self, "\(source.prefix(100))") {
            try Template(source, limits: limits).render(context: ["x": .integer(1)])
        }
    }

    @Test("long values that no loop walks are released")
    func chains() throws {
        // Namespaces and macros chained by the thousand must not be released one inside the other.
        let chained = "{% set ns = namespace(x=none) %}{% for i in range(50000) %}{% set ns.x = namespace(x=ns.x) %}{% endfor %}done"
        #expect(try Template(chained).render(context: [:]) == "done")
        let macros = """
            {% macro make(before) %}{% macro inner() %}{{ before }}{% endmacro %}{% set ns.m = inner %}{% endmacro %}\
            {% set ns = namespace(m=none) %}{% for i in range(20000) %}{{ make(ns.m) }}{% endfor %}done
            """
        #expect(try Template(macros).render(context: [:]) == "done")
    }

    @Test("each limit can be set")
    func settings() throws {
        var limits = TemplateLimits()
        limits.outputByteCount = 10
        let tooLong = #expect(throws: ChatTemplateError.self) { try Template("{{ 'abc' * 4 }}", limits: limits).render(context: [:]) }
        #expect(tooLong?.code == .limit)
        #expect(try Template("{{ 'abc' * 3 }}", limits: limits).render(context: [:]) == "abcabcabc")
        limits = TemplateLimits()
        limits.sourceByteCount = 3
        #expect(throws: ChatTemplateError.self) { try Template("abcd", limits: limits) }
        limits = TemplateLimits()
        limits.steps = 100
        #expect(throws: ChatTemplateError.self) { try Template("{% for x in range(200) %}{% endfor %}", limits: limits).render(context: [:]) }
    }

    @Test("deep input of the caller is refused")
    func deepInput() {
        var value = JSONValue.array([])
        for _ in 0..<1000 { value = .array([value]) }
        #expect(throws: ChatTemplateError.self) { try Template("{{ x }}").render(context: ["x": value]) }
    }

    @Test("damaged templates never trap")
    func damaged() throws {
        var random = SeededGenerator(state: 42)
        let conversation: [JSONValue] = [("user", "hi"), ("assistant", "yes")].map { role, text in
            .object(["role": .string(role), "content": .string(text)])
        }
        let snippets = ["{{", "}}", "{%", "%}", "{#", "#}", "-", "(", "[", "|", "'", "\\", " if ", " for ", "é", "\u{0}", "1", "**", ".", ":"]
        for style in ["gemma-style", "hermes-style", "llama-style", "mistral-style", "thinking-style"] {
            let source = Array(try Goldens.text("templates/\(style).jinja").unicodeScalars)
            for _ in 0..<150 {
                var damaged = source
                for _ in 0..<Int.random(in: 1...6, using: &random) {
                    let position = Int.random(in: 0..<damaged.count, using: &random)
                    switch Int.random(in: 0..<4, using: &random) {
                    case 0: damaged.remove(at: position)
                    case 1: damaged.removeSubrange(position..<min(damaged.count, position + 20))
                    case 2: damaged.insert(contentsOf: (snippets.randomElement(using: &random) ?? "").unicodeScalars, at: position)
                    default: damaged[position] = source[Int.random(in: 0..<source.count, using: &random)]
                    }
                }
                var view = String.UnicodeScalarView()
                view.append(contentsOf: damaged)
                _ = try? ChatTemplate(String(view)).render(messages: conversation, addGenerationPrompt: true)
            }
        }
    }
}

/// Numbers from a seed, so that a failure comes back.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
