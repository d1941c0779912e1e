"""Writes cases.txt beside itself: JSON texts, good and bad, and what Python's json makes of them.

Made with Python 3.11, seed 20240607: python make_goldens.py

A line is the text in base64, a tab, and the value in a plain form, or "error". Where this project's reader is stricter on purpose (NaN and
Infinity, lone surrogates) the line says "error"; integers that do not fit 64 bits are doubles.
"""

import base64
import json
import pathlib
import random
import struct

SEED = 20240607
random.seed(SEED)

STRINGS = ["", "a", "key", "naïve", "日本語", "🕊", "e\u0301", "\x7f", "\u2028", 'quote"', "back\\slash", "/", "\b\f\n\r\t", "\x00\x1f", "x" * 40]
NUMBERS = [
    "0", "-0", "1", "-1", "10", "0.0", "-0.0", "0.5", "1e0", "1E5", "1e+5", "1e-5", "-1.25e-3", "123456789012345678", "999999999999999999",
    "1000000000000000000", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
    "123456789012345678901234567890", "1.7976931348623157e308", "1.7976931348623159e308", "1e400", "-1e400", "5e-324", "2e-324", "1e-400",
    "2.2250738585072011e-308", "9007199254740993", "9007199254740993.0", "0.1", "3.141592653589793238462643383279", "1e22", "1e23", "0e0", "0e999",
]
EDGES = [
    "", " ", "\n", "null", "true", "false", "nul", "truee", "True", "NaN", "Infinity", "-Infinity", "+1", "01", "-", "-01", ".5", "5.", "1.e5", "1e",
    "1e+", "0x10", "1_000", "1 2", "[", "]", "{", "}", "[]", "{}", "[]]", "[,]", "[1,]", "[,1]", "[1,,2]", "[1 2]", '{"a"}', '{"a":}', '{"a":1,}', "{,}",
    '{a:1}', "{'a':1}", '{"a" 1}', '{"a":1 "b":2}', '{"a":1,"a":2}', '{"a":1,"b":2,"a":3}', '{1:2}', '{null:1}', '"', '"a', '"\\', '"\\"', '"\\u', '"\\u12',
    '"\\u123"', '"\\u12g4"', '"\\U0041"', '"\\x41"', '"\\/"', '"\\u0000"', '"\\u0041\\u00e9\\u20ac"', '"\\ud83d\\ude00"', '"\\uD83D\\uDE00"', '"\\ud83d"',
    '"\\ude00"', '"\\ude00\\ud83d"', '"\\ud83d\\ud83d\\ude00"', '"\\ud83dx"', '"\\ud83d\\n"', '"\\ud83d\\u0041"', '"\n"', '"\t"', '"\x00"', '"\x1f"', '"\x7f"', "'a'",
    "\x0b1", "\x0c1", "\xa01", "1\x00", "/*c*/1", "1//c", "#1", "\u20281", "[1]x", "\ttrue\r\n ", "[[[[[[[[[[]]]]]]]]]]", '[{"a":[{"b":[]}]}]', "-a", "--1", "1-", "1.5.5",
    "1e5e5", "1e5.5", "tru", "[true,false,null]", '["a","b"', '{"a":[1,2}', '[1,2}', '{"":""}', '{"a":1,"\\u0061":2}',
]


def space():
    return "".join(random.choice(" \t\r\n") for _ in range(random.choice([0, 0, 0, 1, 3])))


def text_of(string):
    return json.dumps(string, ensure_ascii=random.random() < 0.5).replace("/", random.choice(["/", "\\/"]))


def generate(depth):
    kind = random.random()
    if depth == 0 or kind < 0.5:
        return random.choice([text_of(random.choice(STRINGS)), random.choice(NUMBERS), random.choice(["null", "true", "false"])])
    items = range(random.choice([0, 1, 2, 3, 5]))
    if kind < 0.75:
        return "[" + ",".join(space() + generate(depth - 1) + space() for _ in items) + "]"
    return "{" + ",".join(space() + text_of(random.choice(STRINGS)) + space() + ":" + space() + generate(depth - 1) for _ in items) + "}"


def mutate(text):
    for _ in range(random.choice([1, 1, 2])):
        place = random.randrange(len(text) + 1)
        choice = random.random()
        if choice < 0.35:
            text = text[:place] + text[place + 1 :]
        elif choice < 0.7:
            text = text[:place] + random.choice('{}[],:"\\0123456789.-+eEu /\n\x01tnfabd') + text[place:]
        elif choice < 0.85:
            text = text[:place]
        else:
            other = random.randrange(len(text) + 1)
            text = text[: min(place, other)] + text[max(place, other) :]
    return text


def refuse(constant):
    raise ValueError(constant)


def plain(value):
    if value is None:
        return "n"
    if value is True or value is False:
        return "t" if value else "f"
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return f"i{value}"
    if isinstance(value, (int, float)):
        return "d" + struct.pack(">d", float(value)).hex()
    if isinstance(value, str):
        return "s" + value.encode("utf-8").hex()
    if isinstance(value, list):
        return "[" + ",".join(map(plain, value)) + "]"
    return "{" + ",".join(plain(key) + ":" + plain(member) for key, member in value.items()) + "}"


def verdict(text):
    try:
        return plain(json.loads(text, parse_constant=refuse))
    except (ValueError, UnicodeEncodeError):
        return "error"


texts = EDGES + NUMBERS + [f"[{number}]" for number in NUMBERS] + [space() + generate(4) + space() for _ in range(250)]
texts += [mutate(random.choice(texts)) for _ in range(1500)]
lines = [base64.b64encode(text.encode("utf-8")).decode() + "\t" + verdict(text) for text in dict.fromkeys(texts)]
(pathlib.Path(__file__).parent / "cases.txt").write_text("\n".join(lines) + "\n")
print(len(lines), sum(line.endswith("error") for line in lines))
