"""Strings that tokenizers get wrong, from a seed. Used by make_goldens.py and compare.py."""
import random

WORDS = (
    "the of and to in model Tokenizer HTTPServer snake_case don't we'll I'VE they're it'S you'D naïve façade Ångström coöperate "
    "нещо на Български Привет мир ελληνικά γλώσσα 日本語 テキスト 漢字かな交じり文 中文分词 你好，世界！ 한국어 텍스트 한국어 안녕하세요 "
    "שלום עולם مرحبا بالعالم العربية فارسی हिन्दी नमस्ते தமிழ் ภาษาไทย ທ່ານ မြန်မာ ខ្មែរ አማርኛ ქართული հայերեն ᏣᎳᎩ ᐃᓄᒃᑎᑐᑦ "
    "ﬁne ﬂow ﬀ ﬆ Ⅷ ½ ² ₃ ① ㍿ ㋿ ｆｕｌｌｗｉｄｔｈ ＡＢＣ１２３ 𝒜𝓁𝑔𝑒𝒷𝓇𝒶 𝟘𝟙𝟚 ǅ ŉ İstanbul ıçok ſtraße STRASSE ẞ K Å Ω"
).split()
ENGLISH = "It is what he said about her and then they went on with their work because nothing more could be done before night".split()
EMOJI = ["😀", "🦙", "👩‍👩‍👧‍👦", "👍🏽", "🏳️‍🌈", "🇧🇬🇯🇵", "❤️", "☺", "1️⃣", "🧑🏿‍🚀", "⌚", "\u200d", "\ufe0f", "🏴\U000e0067\U000e0062\U000e007f"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\r", "\n\n", " \n ", "\u00a0", "\u3000", "\u2009", "\u200b", "\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\ufeff", "\u1680", "\u202f"]
CONTROL = [chr(c) for c in range(32)] + ["\x7f", "\x80", "\x9f", "\ufffe", "\uffff", "\U0001ffff", "\U0010ffff", "\ufffd", "\u202e", "\u2066", "\u00ad"]
MARKS = ["\u0301", "\u0300", "\u0323", "\u0327", "\u0345", "\u0334", "\u05b0", "\u064b", "\u0651", "\u0e48", "\u3099", "\u309a", "\u094d", "\u20dd", "\u1ab0", "\U0001d165", "\U0001e8d0", "\u0f71", "\u0f72", "\u0344", "\u0340", "\u0374", "\u0378"]
BASES = list("aeiouAEIOUnscCzk") + ["α", "и", "か", "ハ", "ㅏ", "가", "\u09c7", "\u0b47", "\u0dd9", "ᄀ", "\U00011131", "\U00011347", "ê", "Ǖ", "ﬁ", "\u1100", "\u1161", "\u11a8", "각", "\u0958", "\u2126", "\u212b"]
JAMO = [chr(c) for c in (*range(0x1100, 0x1113), *range(0x1161, 0x1176), *range(0x11A7, 0x11C3), 0xA960, 0xD7B0, 0xD7CB)]
LOOKALIKES = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im_start", "im_end|>", "<think>", "</think>", "<tool_call>", "<s>", "</s>", "<unk>", "<pad>", "<bos>",
    "<|im_<|im_end|>", "<0x41>", "<0x0A>", "<0xE2>", "▁", "▁▁", "Ġ", "Ċ", "Ġthe", "[MASK]", "[CLS]", "<extra_1>", "<x>", "<xx>", "<xxx>", "<|fim_prefix|>", "<S>", "<ΜΑΣΚ>",
]
CODE = ["def f(x):\n    return x+1\n", "for(i=0;i<10;++i){}", "a->b[*c]", "http://x.y/z?q=%20&r", "{\"k\": [1, 2.5e-3]}", "\\u0041", "#include <a.h>", "=====", "------", "!!!???", "...", "``", "''"]
NUMBERS = ["0", "7", "12", "123", "1234", "3.14159", "1,000,000", "-42", "1e10", "٣٤٥", "१२३", "௧௨", "Ⅻ", "½", "0x1F", "2024-01-31", "𝟗𝟗", "〇一二三"]


def random_scalar(rng):
    choice = rng.random()
    if choice < 0.35:
        c = rng.randrange(0x20, 0x800)
    elif choice < 0.6:
        c = rng.randrange(0x800, 0x10000)
    elif choice < 0.8:
        c = rng.randrange(0x10000, 0x20000)
    else:
        c = rng.randrange(0x110000)
    return "\u2603" if 0xD800 <= c < 0xE000 else chr(c)


def fragment(rng):
    kind = rng.randrange(17)
    if kind == 0: return rng.choice(WORDS)
    if kind == 1: return " ".join(rng.choices(ENGLISH, k=rng.randint(1, 8)))
    if kind == 2: return "".join(rng.choices(EMOJI, k=rng.randint(1, 3)))
    if kind == 3: return "".join(rng.choices(SPACES, k=rng.randint(1, 4)))
    if kind == 4: return rng.choice(CONTROL)
    if kind == 5: return "".join(rng.choice(BASES) + "".join(rng.choices(MARKS, k=rng.randint(0, 4))) for _ in range(rng.randint(1, 4)))
    if kind == 6: return "".join(rng.choices(JAMO, k=rng.randint(1, 8)))
    if kind == 7: return rng.choice(LOOKALIKES)
    if kind == 8: return rng.choice(CODE)
    if kind == 9: return rng.choice(NUMBERS)
    if kind == 10: return "".join(random_scalar(rng) for _ in range(rng.randint(1, 12)))
    if kind == 11: return "".join(rng.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", k=rng.randint(1, 30)))
    if kind == 12: return rng.choice(["'s", "'T", "'Re", "'VE", "'ll", "'ſ", "’s", "'", "''s", "'m x", " 'd"])
    if kind == 13: return "".join(rng.choice(WORDS) for _ in range(rng.randint(2, 4)))
    if kind == 14: return "".join(rng.choices(MARKS, k=rng.randint(1, 6)))
    if kind == 15: return "".join(chr(rng.randrange(0x21, 0x7F)) for _ in range(rng.randint(1, 16)))
    return rng.choice([" ", ""]).join(rng.choices(WORDS, k=rng.randint(2, 6)))


def long_run(rng):
    unit = rng.choice(["a", " ", "\n", "ab", "é", "e\u0301", "\u0301", "한", "ᄀ", "1", "!", "<", "▁", "\U0001F600", "\r\n", " \n", "\x00", "ا", "Ġ", "'s", "\u00a0", "aA1 "])
    return unit * rng.randint(50, 1500)


def strings(seed, count):
    rng = random.Random(seed)
    fixed = ["", " ", "  ", "\n", "\x00", "a", "▁", "<s>", " <s>", "<s> ", "\u0301", "\ufeff", "e\u0301", "\r\n\r\n", "<|im_start|>user\nhi<|im_end|>\n"]
    for index in range(count):
        if index < len(fixed):
            yield fixed[index]
        elif rng.random() < 0.01:
            yield "".join((fragment(rng), long_run(rng), fragment(rng)))
        else:
            yield rng.choice(["", "", " "]).join(fragment(rng) for _ in range(rng.randint(1, 10)))


def every_scalar():
    """Every scalar between letters, digits, spaces, marks and consonants."""
    scalars = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    for i in range(0, len(scalars), 64):
        yield "".join(f"a{c}b {c}{c}1{c}\u0301\u0323\u1100{c}'{c}\n{c} e{c}\u0327" for c in scalars[i:i + 64])


def id_lists(seed, count, upper, byte_ids, special_ids):
    """Random ids: plain ones, bytes (also broken ones), special ones and such that are no token."""
    rng = random.Random(seed * 31 + 7)
    for _ in range(count):
        ids = []
        for _ in range(rng.randint(1, 12)):
            kind = rng.random()
            if kind < 0.45 and byte_ids:
                text = rng.choice(["é", "한", "😀", "a", "\u0301", "\ufffd"]).encode()
                values = list(text) if rng.random() < 0.6 else [rng.choice(text) for _ in range(rng.randint(1, 3))]
                if rng.random() < 0.3: values.append(rng.randrange(256))
                if rng.random() < 0.2: values = values[:-1]
                ids += [byte_ids[v] for v in values]
            elif kind < 0.55 and special_ids:
                ids.append(rng.choice(special_ids))
            elif kind < 0.6:
                ids.append(upper + rng.randrange(5))
            else:
                ids.append(rng.randrange(upper))
        yield ids
