import ChatTemplates
import JSON
import OrderedCollections

extension FuzzTarget {
    /// Chat templates, rendered with a conversation that has all that templates look at.
    static let template = FuzzTarget(
        name: "template",
        seeds: [
            "{%- for message in messages %}{{ '<|' + message.role + '|>\\n' + message['content'] | trim }}{% endfor %}{% if add_generation_prompt %}A:{% endif %}",
            """
            {%- set ns = namespace(last=messages|length - 1, found=false) %}
            {%- for m in messages[::-1] %}{%- set i = (messages|length - 1) - loop.index0 %}
            {%- if not ns.found and m.role == "user" and not(m.content.startswith('<') and m.content.endswith('>')) %}{%- set ns.found = true %}{%- endif %}
            {%- endfor %}{%- for tool in tools %}{{ "\\n" }}{{ tool | tojson }}{%- endfor %}
            """,
            """
            {{ bos_token }}{%- if messages[0]['role'] == 'system' -%}{%- set first = messages[0]['content'] + '\n\n' -%}{%- else -%}{%- set first = "" -%}{%- endif -%}
            {%- for message in messages[1:] -%}{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception("roles") }}{%- endif -%}
            {%- if message['content'] is string -%}{{ message['content'] | trim }}{%- elif message['content'] is iterable -%}{%- for item in message['content'] -%}
            {{ item.text if item.type == 'text' else '<image>' }}{%- endfor -%}{%- endif -%}{%- endfor -%}
            """,
            """
            {% macro show(x, indent=2) %}{{ x | tojson(indent=indent) }}{% endmacro %}{{ show({"a": [1, 2.5, none], 'b': "ü"}) }}
            {{ messages | selectattr("role", "equalto", "user") | map(attribute="content") | join(", ") }}{{ 7 // 2 ~ -7 % 3 ** 2 }}
            {{ "a,b".split(",")[-1].upper() }}{{ [3,1,2]|sort|reverse|list|last }}{{ x|default('none') }}{% raw %}{{ no }}{% endraw %}
            """,
        ].map { Array($0.utf8) },
        format: .text,
        dictionary: [
            "{{", "}}", "{%-", "-%}", "{% if x %}", "{% else %}", "{% endif %}", "{% for a in b %}", "{% endfor %}", "{% set x = ", "{% macro m() %}",
            "(", ")", "[", "]", "-",
            "not ", "range(1000000000)", "messages", "|tojson", "|join", "|length", " is defined", "'x' * 1000000000", " ~ ", "**", "loop.index",
            "{#", "#}", "m()", "namespace(",
            "|replace('a', 'aaaaaaaa')", "|indent(1000)", "%", ".format(", "|map(", "[::-1]", "strftime_now(",
        ],
        statedMemoryMultiple: 64,
        run: { input in
            guard let source = String(validating: input, as: UTF8.self) else { return }
            var limits = TemplateLimits()
            // Small enough that a million runs end, large enough that the limits themselves are reached.
            limits.steps = 100_000
            limits.outputByteCount = 1 << 20
            let template = try ChatTemplate(source, limits: limits)
            let messages = try JSONValue(parsing: conversation).arrayValue ?? []
            let text = try template.render(
                messages: messages, tools: JSONValue(parsing: tools), addGenerationPrompt: true,
                variables: ["bos_token": .string("<bos>"), "enable_thinking": .bool(false)])
            guard text.utf8.count <= limits.outputByteCount else { throw FuzzViolation("the text is longer than the limit") }
        })

    /// Parsed anew for each input: the leak check does not see through values that are kept in enumerations, and would blame them.
    private static let conversation = #"""
        [{"role":"system","content":"Be <brief>."},{"role":"user","content":[{"type":"text","text":"Ünï 🕊"}]},{"role":"assistant","content":
        "<think>\nx\n</think>\n\ny","tool_calls":[{"function":{"name":"f","arguments":{"a":1.5}}}]},{"role":"user","content":"a\r\nb"}]
        """#

    private static let tools = #"[{"type":"function","function":{"name":"f"}}]"#
}
