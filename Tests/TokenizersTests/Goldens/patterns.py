#!/usr/bin/env python3
"""Random patterns and what the regex engine of `tokenizers` matches with them, for `DifferentialTests`.

    patterns.py SEED COUNT OUTPUT.jsonl

Each line is {"pattern", "cases": [{"text", "matches": [[start, end]]}]} in scalars, empty matches left out; without "cases" where the engine refuses the
pattern. Made for tokenizers 0.23.3.
"""
import json, random, sys

from tokenizers import Regex, pre_tokenizers

ATOMS = [
    "a", "b", "c", "'", " ", "é", "s", "S", "k", "1", ".", r"\s", r"\S", r"\d", r"\w", r"\W", r"\n", r"\r", r"\t", r"\p{L}", r"\p{Lu}", r"\P{L}", r"\p{^N}", r"\p{N}", r"\p{P}", r"\p{M}",
    r"\.", r"\-", r"\[", r"\ ", r"\x61", r"\x{e9}", r"\u00e9", "]", "-", "}", ",", "^", "$", r"\A", r"\z", r"\Z", "{", "ſ", "!", "=", ":", "日",
]
CLASSES = ["[abc]", "[^abc]", "[a-c]", "[^a-c1]", r"[\s\d]", r"[^\s\p{L}\p{N}]", r"[^\r\n\p{L}\p{N}]", r"[\r\n]", "[a-]", "[-a]", "[]a]", "[^]a]", "[a[bc]]", "[^a[bc]]", r"[\w-]", "[a^]", "[.]", "[$ ]", r"[\]a]", r"[\p{Lu}\p{M}]", r"[^\S\n]", "[a-c-]", "[ -~]", r"[\x61-\x63]", "[[^a]b]", "[é-í]", "[s]", r"[^\P{L}]"]
QUANTIFIERS = ["*", "+", "?", "*?", "+?", "??", "*+", "++", "?+", "{2}", "{1,3}", "{2,}", "{,2}", "{1,2}?", "{1,2}+", "{2,}?", "{0,1}"]


def pattern(rng, depth=0):
    parts = []
    for _ in range(rng.randint(1, 3 if depth else 4)):
        kind = rng.random()
        if kind < 0.5: part = rng.choice(ATOMS)
        elif kind < 0.72: part = rng.choice(CLASSES)
        elif kind < 0.8: part = rng.choice(["(?=", "(?!"]) + "|".join(rng.choice(ATOMS + CLASSES) for _ in range(rng.randint(1, 2))) + ")"
        elif depth < 2: part = rng.choice(["(", "(?:", "(?:", "(?i:", "(?-i:", "(?i)"]) + pattern(rng, depth + 1) + ")"
        else: part = "a"
        if part.startswith("(?i)"): part = "(" + part + ")" if rng.random() < 0.5 else part[:-1]
        if rng.random() < 0.4: part += rng.choice(QUANTIFIERS)
        parts.append(part)
    text = "".join(parts)
    if rng.random() < 0.3: text += "|" + pattern(rng, depth + 1)
    return text


def text(rng):
    return "".join(rng.choices(["a", "b", "c", "A", "B", "ab", "abc", "aaa", " ", "  ", "\n", "\r\n", "\t", "1", "12", "é", "e\u0301", "'s", "'S", "s", "ſ", "\u212a", "K", "k", "-", "]", "[", ".", "!", "日", "{", "}", ",", "^", "$", "É", "ß", "\u3000"], k=rng.randint(0, 14)))


def main():
    rng = random.Random(int(sys.argv[1]))
    with open(sys.argv[3], "w") as output:
        for _ in range(int(sys.argv[2])):
            source = pattern(rng)
            line = {"pattern": source}
            try:
                split = pre_tokenizers.Split(Regex(source), "removed", True)
                line["cases"] = [{"text": t, "matches": [list(o) for _, o in split.pre_tokenize_str(t)]} for t in (text(rng) for _ in range(5))]
            except BaseException as error:  # the engine refuses the pattern, or gives up on a text
                if isinstance(error, KeyboardInterrupt): raise
            output.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
