#!/usr/bin/env python3
"""Writes fuzz-seeds.jsonl: forty tokenizer files of about 3 KB, one a line, that together have every step and every flag.

    pip install tokenizers==0.23.3
    python3 make_fuzz_seeds.py      (in this folder; the seed is in the code)
"""
import json, pathlib, random

import variants

VOCAB = ["<unk>", "<s>", "</s>", "<0x0A>", "<0x41>", "<0xC3>", "<0xA9>", "<0xFF>", "▁", "Ġ", "Ċ", *"abcdehilnorstw", "é", "日", "th", "the", "▁the", "Ġthe", "▁▁", "in", "1", "12", "Ã", "©"]
MERGES = [["t", "h"], ["th", "e"], ["▁", "the"], ["Ġ", "the"], ["▁", "▁"], ["i", "n"]]


def added(index):
    token = lambda content, **flags: {
        "id": 0, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False, **flags}
    tokens = [
        token("<s>", special=True), token("</s>", special=True), token("<|a|>", lstrip=True), token("<|ab", rstrip=True, normalized=True), token("xx", single_word=True),
        token("  "), token("É", normalized=True, special=True),
    ]
    tokens = [t for i, t in enumerate(tokens) if index >> i & 1]
    next_id = len(VOCAB)
    for t in tokens:
        if t["content"] in VOCAB:
            t["id"] = VOCAB.index(t["content"])
        else:
            t["id"] = next_id
            next_id += 1
    return tokens


def main():
    lines = []
    for number in range(40):
        rng = random.Random(number)
        data = {
            "version": "1.0", "truncation": {"max_length": 8, "strategy": "LongestFirst", "stride": 0, "direction": "Right"} if number % 8 == 0 else None, "padding": None,
            "added_tokens": added(rng.randrange(128)),
            "normalizer": variants.sequence(rng, variants.normalizer, "normalizers", 0, 3), "pre_tokenizer": variants.sequence(rng, variants.pre_tokenizer, "pretokenizers", 0, 3),
            "post_processor": rng.choice([
                None, {"type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1]},
                {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1], "trim_offsets": True, "add_prefix_space": False},
                {"type": "Sequence", "processors": [
                    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
                    {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                     "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                     "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}]},
            ]),
            "decoder": variants.sequence(rng, variants.decoder, "decoders", 0, 4),
            "model": {
                "type": "BPE", "dropout": None, "unk_token": rng.choice([None, "<unk>"]), "continuing_subword_prefix": None, "end_of_word_suffix": None,
                "fuse_unk": rng.random() < 0.5, "byte_fallback": rng.random() < 0.5, "ignore_merges": rng.random() < 0.5,
                "vocab": {t: i for i, t in enumerate(VOCAB)}, "merges": MERGES if number % 2 else [" ".join(m) for m in MERGES],
            },
        }
        lines.append(json.dumps(data, ensure_ascii=number % 3 == 0, separators=(",", ":")))
    pathlib.Path(__file__).with_name("fuzz-seeds.jsonl").write_text("\n".join(lines) + "\n")


main()
