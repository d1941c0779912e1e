#!/usr/bin/env python3
"""Writes Sources/Tokenizers/Unicode/UnicodeTables+*.swift: how Hugging Face `tokenizers` classifies, lowers and normalises every scalar.

    pip install tokenizers==0.23.3
    python3 Tests/TokenizersTests/Goldens/make_unicode_tables.py        (from the package root; Python's own Unicode must be 12 or newer)

`tokenizers` mixes three Unicode versions: its regex engine, its string functions and its normalisation are of different years. Tokens must be the
same whatever the Swift toolchain's Unicode is, so nothing is taken from a standard: every scalar is put through the library itself.
Only the one-step decompositions and the combining classes have no probe of their own; they come from Python's table and every entry is then checked
against the library's behaviour (composition of each pair, reordering against marks of other classes).
"""
import base64, pathlib, sys, unicodedata
import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

SCALARS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cn Co".split()
CHUNK = 8192


def regex_class(pattern):
    split = pre_tokenizers.Split(Regex(f"{pattern}+"), "removed", True)
    found = set()
    for i in range(0, len(SCALARS), CHUNK):
        for piece, _ in split.pre_tokenize_str("".join(map(chr, SCALARS[i:i + CHUNK]))):
            found.update(map(ord, piece))
    return found


def removed_by(pre_tokenizer):
    found = set()
    for i in range(0, len(SCALARS), CHUNK):
        chunk, kept = SCALARS[i:i + CHUNK], set()
        for piece, _ in pre_tokenizer.pre_tokenize_str("".join(map(chr, chunk))):
            kept.update(map(ord, piece))
        found |= set(chunk) - kept
    return found


def probe_classes():
    category = {}
    for index, name in enumerate(CATEGORIES):
        for c in regex_class(rf"\p{{{name}}}"):
            assert c not in category
            category[c] = index
    assert len(category) == len(SCALARS)
    space = regex_class(r"\s")
    assert space == removed_by(pre_tokenizers.WhitespaceSplit()) == removed_by(pre_tokenizers.Whitespace())
    assert regex_class(r"\d") == {c for c in SCALARS if category[c] == CATEGORIES.index("Nd")}
    for group in "LMNPSZC":
        assert regex_class(rf"\p{{{group}}}") == {c for c in SCALARS if CATEGORIES[category[c]][0] == group}
    word = regex_class(r"\w")
    punctuation = removed_by(pre_tokenizers.Punctuation("removed"))
    digits, whitespace = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Whitespace()
    numeric = {c for c in SCALARS if len(digits.pre_tokenize_str("a" + chr(c) + "a")) == 3}
    identifier = {c for c in SCALARS if len(whitespace.pre_tokenize_str("a" + chr(c) + "a")) == 1}
    han = regex_class(r"\p{Han}")
    flags = [word, space, punctuation, numeric, identifier, han]
    return {c: category[c] | sum((c in members) << (5 + bit) for bit, members in enumerate(flags)) for c in SCALARS}


def probe_mapping(normalizer):
    return {c: m for c in SCALARS if (m := normalizer.normalize_str(chr(c))) != chr(c)}


def is_hangul(c):
    return 0xAC00 <= c < 0xAC00 + 11172


def probe_combining(nfd):
    """The canonical combining class that the library's reordering shows."""
    classes = {}
    low, high = "\u0334", "\u0345"  # classes 1 and 240
    assert unicodedata.combining(low) == 1 and unicodedata.combining(high) == 240
    for c in SCALARS:
        s = chr(c)
        if c in (0x334, 0x345):
            classes[c] = unicodedata.combining(s)
            continue
        d = nfd.normalize_str(s)
        if len(d) != 1:
            continue  # a decomposable scalar never takes part itself
        moves = nfd.normalize_str(s + low) == low + d or nfd.normalize_str(high + s) == d + high
        if moves:
            classes[c] = unicodedata.combining(s)
            assert classes[c] != 0, hex(c)
    representatives = {}
    for c, k in classes.items():
        representatives.setdefault(k, chr(c))
    for c, k in classes.items():  # against one mark of every class
        s = nfd.normalize_str(chr(c))
        for other, r in representatives.items():
            assert (nfd.normalize_str(s + r) == r + s) == (k > other) or s == r, (hex(c), k, other)
    return classes


def probe_compositions(nfc, nfd):
    pairs = {}
    for c in SCALARS:
        text = unicodedata.decomposition(chr(c))
        if not text or text.startswith("<") or is_hangul(c):
            continue
        parts = [int(p, 16) for p in text.split()]
        if len(parts) == 2 and nfc.normalize_str("".join(map(chr, parts))) == chr(c):
            pairs[tuple(parts)] = c
    return pairs


def varint(value, out):
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def zigzag(value):
    return value << 1 if value >= 0 else (-value << 1) - 1


def runs(table, default):
    """[(start, value)] of the runs of equal values over 0..10FFFF; surrogates take the value before them."""
    result, last = [], None
    for c in range(0x110000):
        value = last if 0xD800 <= c < 0xE000 else table.get(c, default)
        if value != last:
            result.append((c, value))
            last = value
    return result


def encode_runs(pairs):
    out, at = bytearray(), 0
    for start, value in pairs:
        varint(start - at, out)
        varint(value, out)
        at = start
    return out


def encode_mapping(mapping):
    """count, then for each: distance from the last key, length, signed distances of the scalars (the first from the key, the others from 0x300)."""
    out, at = bytearray(), 0
    varint(len(mapping), out)
    for c in sorted(mapping):
        scalars = [ord(s) for s in mapping[c]]
        varint(c - at, out)
        varint(len(scalars), out)
        varint(zigzag(scalars[0] - c), out)
        for s in scalars[1:]:
            varint(zigzag(s - 0x300), out)
        at = c
    return out


def encode_pairs(pairs):
    out, at = bytearray(), 0
    varint(len(pairs), out)
    for (first, second), composite in sorted(pairs.items()):
        varint(first - at, out)
        varint(second, out)
        varint(zigzag(composite - first), out)
        at = first
    return out


def swift(name, doc, data):
    text = base64.b64encode(bytes(data)).decode()
    lines = [text[i:i + 136] for i in range(0, len(text), 136)]
    body = " \\\n".join(f"        {line}" for line in lines).replace(" \\\n", "\\\n")
    return (
        f"// Made by Tests/TokenizersTests/Goldens/make_unicode_tables.py from tokenizers {tokenizers.__version__}: do not edit.\n\n"
        f"extension UnicodeTables {{\n    /// {doc}\n    static let {name}: String = \"\"\"\n{body}\n        \"\"\"\n}}\n"
    )


def main():
    assert len(sys.argv) == 1
    folder = pathlib.Path("Sources/Tokenizers/Unicode")
    attributes = probe_classes()
    distinct = sorted(set(attributes.values()))
    kind = {a: i for i, a in enumerate(distinct)}
    assert len(distinct) <= 128
    kinds = bytearray()
    varint(len(distinct), kinds)
    for a in distinct:
        varint(a, kinds)
    kinds += encode_runs(runs({c: kind[a] for c, a in attributes.items()}, None))
    nfd, nfc = normalizers.NFD(), normalizers.NFC()
    canonical = {c: m for c, m in probe_mapping(nfd).items() if not is_hangul(c)}
    compatible = {c: m for c, m in probe_mapping(normalizers.NFKD()).items() if not is_hangul(c) and canonical.get(c) != m}
    combining = probe_combining(nfd)
    pairs = probe_compositions(nfc, nfd)
    lower = probe_mapping(normalizers.Lowercase())
    files = {
        "Kinds": ("kinds", "The attributes of each kind of scalar, then runs of (distance, kind).", kinds),
        "Canonical": ("canonical", "Full canonical decompositions, Hangul syllables left out.", encode_mapping(canonical)),
        "Compatible": ("compatible", "Full compatibility decompositions where they differ from the canonical ones.", encode_mapping(compatible)),
        "Combining": ("combining", "Runs of (distance, canonical combining class).", encode_runs(runs(combining, 0))),
        "Compositions": ("compositions", "Primary composites: (first, second) to one scalar, Hangul left out.", encode_pairs(pairs)),
        "Lowercase": ("lowercase", "Lower-case mappings of single scalars.", encode_mapping(lower)),
    }
    for suffix, (name, doc, data) in files.items():
        (folder / f"UnicodeTables+{suffix}.swift").write_text(swift(name, doc, data))
        print(suffix, len(data), "bytes")
    print(len(distinct), "kinds,", len(canonical), "canonical,", len(compatible), "compatible,", len(combining), "marks,", len(pairs), "pairs,", len(lower), "lower")


main()
