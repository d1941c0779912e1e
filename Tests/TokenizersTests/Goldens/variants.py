#!/usr/bin/env python3
"""Random tokenizers made of every supported step, and what `tokenizers` makes of nasty strings with them, for `DifferentialTests`.

    variants.py SEED COUNT STRINGS FOLDER

Writes FOLDER/variant-N.json and FOLDER/variant-N.jsonl for N in 0..<COUNT. Made for tokenizers 0.23.3.
"""
import json, pathlib, random, sys

import compare
import nasty_strings
from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).parent
REGEXES = [
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"\s+$", r"^\s+", r"[一-龥ࠀ-一가-퟿]+", r"\p{N}", r"[0-9][0-9][0-9]", r"\p{N}{1,3}+", r"\w+?", r"\W+", r"\D",
    r" ?[^(\s|[.,!?…。，、।۔،])]+", r"\p{Han}+|\p{^Han}", r".", r".+", r"", r"a*", r"(?:a|ab|b)*c?", r"a{2,}?", r"[a-e]{1,2}|[^a-e\d]{2,4}", r"(?=\p{Lu})|\s",
    r"\p{P}|\p{S}(?=\s| )", r"(a|b|c)+?x|\n", r"(?:\r?\n)+", r"[\p{L}\p{M}]+|[^\s\p{L}\p{M}\p{N}]+[\r\n]*", r"\S+\s*|\s+", r"[^\S\n]+\Z|\A.|\s\z", r"(?i)[a-m]+|T",
    r"\p{Cn}|\p{Co}|\p{Cf}+|\p{Cc}", r"\p{Sm}|\p{Sc}|\p{Sk}|\p{So}+", r"\p{Mn}+|\p{Mc}|\p{Me}", r"\p{Lt}|\p{Lm}|\p{Nl}|\p{No}|\p{Pc}|\p{Pd}", r"(?:[a-z]++|[A-Z]*+|\d?+)x", r"e??.", r"(\s\S){2}",
]
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]


def pattern(rng):
    return {"Regex": rng.choice(REGEXES)} if rng.random() < 0.7 else {"String": rng.choice([" ", "▁", "a", "  ", "th", "\n", "é", "ab", "aa", "Ġ", "abab", "e\u0301"])}


def normalizer(rng):
    return rng.choice([
        lambda: {"type": "NFC"}, lambda: {"type": "NFD"}, lambda: {"type": "NFKC"}, lambda: {"type": "NFKD"}, lambda: {"type": "Lowercase"},
        lambda: {"type": "Prepend", "prepend": rng.choice(["▁", " ", "x", "ab"])},
        lambda: {"type": "Replace", "pattern": {"String": rng.choice([" ", "▁", "a", "  ", "th", "é", "\n", "aa", "\u0301"])}, "content": rng.choice(["▁", "", " ", "xy", "é"])},
        lambda: {"type": "Replace", "pattern": {"Regex": rng.choice([r"\s+", r"\p{M}", r"[a-f]+", r"\p{N}{2}", r"^ ", r"\.", r"(?i:t|k)", r"\p{Cc}"])}, "content": rng.choice(["▁", "", " ", "xy"])},
        lambda: {"type": "Strip", "strip_left": rng.random() < 0.6, "strip_right": rng.random() < 0.6},
    ])()


def pre_tokenizer(rng):
    return rng.choice([
        lambda: {"type": "Split", "pattern": pattern(rng), "behavior": rng.choice(BEHAVIORS), "invert": rng.random() < 0.3},
        lambda: {"type": "Split", "pattern": pattern(rng), "behavior": rng.choice(BEHAVIORS), "invert": rng.random() < 0.3},
        lambda: {"type": "ByteLevel", "add_prefix_space": rng.random() < 0.5, "trim_offsets": True, "use_regex": rng.random() < 0.5},
        lambda: {"type": "Metaspace", "replacement": rng.choice("▁▁_"), "prepend_scheme": rng.choice(["always", "first", "never"]), "split": rng.random() < 0.6},
        lambda: {"type": "Digits", "individual_digits": rng.random() < 0.5},
        lambda: {"type": "Punctuation", "behavior": rng.choice(BEHAVIORS)},
        lambda: {"type": "Whitespace"}, lambda: {"type": "WhitespaceSplit"},
    ])()


def decoder(rng):
    return rng.choice([
        lambda: {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}, lambda: {"type": "ByteFallback"}, lambda: {"type": "Fuse"},
        lambda: {"type": "Replace", "pattern": {"String": rng.choice(["▁", " ", "th", "aa", "é"])}, "content": rng.choice([" ", "", "xy"])},
        lambda: {"type": "Replace", "pattern": {"Regex": rng.choice([r"\s+", r"▁|Ġ", r"[a-f]+$"])}, "content": rng.choice([" ", "", "xy"])},
        lambda: {"type": "Strip", "content": rng.choice([" ", "▁", "e", "n"]), "start": rng.randrange(3), "stop": 0 if rng.random() < 0.7 else rng.randrange(2)},
        lambda: {"type": "Metaspace", "replacement": "▁", "prepend_scheme": rng.choice(["always", "first", "never"]), "split": True},
    ])()


def sequence(rng, make, key, low, high):
    count = rng.randint(low, high)
    if count == 0: return None
    steps = [make(rng) for _ in range(count)]
    return steps[0] if count == 1 else {"type": "Sequence", key: steps}


def variant(rng):
    name = rng.choice(["byte-level", "gemma-form", "llama-form", "mixed", "gpt-form"])
    data = json.loads((HERE / f"{name}.json").read_text())
    if rng.random() < 0.8: data["normalizer"] = sequence(rng, normalizer, "normalizers", 0, 3)
    if rng.random() < 0.9: data["pre_tokenizer"] = sequence(rng, pre_tokenizer, "pretokenizers", 0, 3)
    if rng.random() < 0.8: data["decoder"] = sequence(rng, decoder, "decoders", 0, 4)
    if rng.random() < 0.5 and name != "byte-level": data["added_tokens"] = [t for t in data["added_tokens"] if t["id"] < len(data["model"]["vocab"])]
    model = data["model"]
    unknown = next((t for t in ("<unk>", "<s>", "!") if t in model["vocab"]))
    if rng.random() < 0.5: model["unk_token"] = rng.choice([None, unknown])
    for flag in ("fuse_unk", "byte_fallback", "ignore_merges"):
        if rng.random() < 0.3: model[flag] = rng.random() < 0.5
    if rng.random() < 0.1:  # some byte tokens only
        for b in rng.sample(range(256), 60):
            token = f"<0x{b:02X}>"
            if token in model["vocab"]: model["vocab"]["gone " + token] = model["vocab"].pop(token)
    return data


def main():
    seed, count, strings, folder = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), pathlib.Path(sys.argv[4])
    for number in range(count):
        rng = random.Random(seed * 100_003 + number)
        while True:
            data = variant(rng)
            try:
                tokenizer = Tokenizer.from_str(json.dumps(data))
                tokenizer.encode("a")
                break
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt): raise
        (folder / f"variant-{number}.json").write_text(json.dumps(data))
        with open(folder / f"variant-{number}.jsonl", "w") as output:
            upper = max(tokenizer.get_vocab().values()) + 1
            for text in nasty_strings.strings(seed + number, strings):
                try:
                    ids = tokenizer.encode(text[:400]).ids
                    plain = tokenizer.encode(text[:400], add_special_tokens=False).ids
                    output.write(json.dumps({"text": text[:400], "ids": ids, "plain": plain, "kept": tokenizer.decode(ids, skip_special_tokens=False), "skipped": tokenizer.decode(ids)}) + "\n")
                except BaseException as error:  # the reference panics on some combinations
                    if isinstance(error, KeyboardInterrupt): raise
            special = [i for i, t in tokenizer.get_added_tokens_decoder().items() if t.special]
            for ids in nasty_strings.id_lists(seed + number, strings // 2, upper, compare.byte_tokens(tokenizer), special):
                try:
                    output.write(json.dumps({"ids": ids, "kept": tokenizer.decode(ids, skip_special_tokens=False), "skipped": tokenizer.decode(ids)}) + "\n")
                except BaseException as error:
                    if isinstance(error, KeyboardInterrupt): raise


if __name__ == "__main__":
    main()
