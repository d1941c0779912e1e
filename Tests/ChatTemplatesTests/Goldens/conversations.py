"""Conversations to render, from a seed: every field of a message that templates ask for, in tidy and untidy forms."""
import random

TEXTS = [
    "Hello!", "", "\n", "  padded \n", "\nleading and trailing\n\n", "two\nlines", "CRLF\r\nline\rend", "tab\there", "naïve café", "日本語のテキスト",
    "emoji 👩‍👩‍👧 and 😀", "e\u0301 combining, \u00e9 composed", "quotes \" and ' and \\ backslash", "<b>html & entities</b>", "{{ not a tag }} {% nor this %}",
    "<think>\nreasons\n</think>\n\nthe answer", "<think>only</think>", "</think> stray", "text <think>late</think> more", "<tool_response>\nfake\n</tool_response>",
    "\u00a0no-break\u2003em\u00a0", "control \x01\x1f\x7f", "null \u2028 line \u2029 paragraph", "zero\u200bwidth", "\ufeffbom", "x" * 300, "1", "None", "a|b|c", "ß ŉ ǆ İ Σ ΑΣ",
]
SCHEMAS = [
    {"type": "object", "properties": {}},
    {"type": "object", "properties": {"city": {"type": "string", "description": "The city, e.g. \"Zürich\""}}, "required": ["city"]},
    {"type": "object", "properties": {"x": {"type": "number", "minimum": 1e-7, "maximum": 1e16, "default": 0.5}, "n": {"type": "integer", "default": -3}}},
    {"type": "object", "properties": {"tags": {"type": "array", "items": {"type": "string"}}, "deep": {"type": "object", "additionalProperties": {"type": "boolean"}}}},
    {"type": "object", "properties": {"choice": {"type": ["string", "null"], "enum": ["ä", "<b>", "it's", None]}, "any": {}}},
]
ARGUMENTS = [
    {}, {"city": "Zürich"}, {"x": 1.0, "n": 2, "flag": True, "nothing": None}, {"list": [1, 2.5, "три", [], {}]}, {"deep": {"a": {"b": {"c": "d\"e"}}}},
    "{\"city\": \"Bern\"}", "", {"b": 1, "a": 2}, {"text": "line\nbreak & <tag> 'q'"}, {"big": 1e22, "small": 1e-9, "minus": -0.0},
]


def tools(rng):
    count = rng.choice([0, 1, 1, 2, 3])
    made = []
    for index in range(count):
        function = {"name": rng.choice(["get_weather", "rechnen", "f", "søk"]) + str(index), "parameters": rng.choice(SCHEMAS)}
        if rng.random() < 0.8:
            function["description"] = rng.choice(TEXTS[:14])
        if rng.random() < 0.2:
            function["return"] = {"type": "string"}
        made.append({"type": "function", "function": function})
    return made


def call(rng):
    function = {"name": rng.choice(["get_weather0", "rechnen1", "f"]), "arguments": rng.choice(ARGUMENTS)}
    made = {"id": rng.choice(["abc123def", "123456789"] * 5 + ["short"]), "type": "function", "function": function}
    return function if rng.random() < 0.15 else made


def message(rng, role):
    made = {"role": role, "content": rng.choice(TEXTS)}
    if role == "assistant":
        if rng.random() < 0.3:
            made["tool_calls"] = [call(rng) for _ in range(rng.choice([0, 1, 1, 2]))]
            if rng.random() < 0.3:
                made["content"] = ""
        if rng.random() < 0.3:
            made[rng.choice(["reasoning_content", "reasoning_content", "thinking", "reasoning"])] = rng.choice(TEXTS + [None])
    if role == "tool" and rng.random() < 0.5:
        made["tool_call_id"] = "abc123def"
    if role == "user" and rng.random() < 0.04:
        made["content"] = [rng.choice([{"type": "text", "text": rng.choice(TEXTS)}, {"type": "image"}]) for _ in range(rng.choice([0, 1, 2, 3]))]
    if role == "system" and rng.random() < 0.05:
        made["content"] = [{"type": "text", "text": rng.choice(TEXTS)}]
    if rng.random() < 0.01:
        made["content"] = None
    if rng.random() < 0.01:
        del made["content"]
    return made


def conversation(rng):
    messages = []
    if rng.random() < 0.5:
        messages.append(message(rng, "system"))
    for _ in range(rng.choice([0, 1, 1, 2, 3])):
        messages.append(message(rng, "user"))
        for _ in range(rng.choice([0, 0, 0, 1, 2])):
            turn = message(rng, "assistant")
            turn["tool_calls"] = [call(rng) for _ in range(rng.choice([1, 2]))]
            messages.append(turn)
            for _ in range(rng.choice([1, 1, 2])):
                messages.append(message(rng, "tool"))
        if rng.random() < 0.95:
            messages.append(message(rng, "assistant"))
    if rng.random() < 0.6:
        messages.append(message(rng, "user"))
    if rng.random() < 0.05:
        rng.shuffle(messages)
    if rng.random() < 0.03:
        messages.append(message(rng, rng.choice(["developer", "ipython", ""])))
    variables = {"bos_token": "<s>", "eos_token": "</s>"} if rng.random() < 0.8 else {}
    thinking = rng.choice([None, None, True, False])
    if thinking is not None:
        variables["enable_thinking"] = thinking
    if rng.random() < 0.2:
        variables["tools_in_user_message"] = rng.choice([True, False])
    if rng.random() < 0.2:
        variables["date_string"] = "1 April 2025"
    return {
        "messages": messages, "tools": rng.choice([None, None, tools(rng), tools(rng)]), "addGenerationPrompt": rng.random() < 0.6, "variables": variables,
    }


def conversations(seed, count):
    rng = random.Random(seed)
    return [conversation(rng) for _ in range(count)]
