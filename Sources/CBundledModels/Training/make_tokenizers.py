"""Trains the two tokenizers on what the models learn from: python make_tokenizers.py CORPUS OUT [SIZES] [SIZES]

Written as tokenizer.json in the two families' own form: byte-level BPE with NFC and Qwen2's split pattern, and
SentencePiece-style BPE with byte fallback, <bos> before and <eos> after. The merges are learned within words; the
second form cuts no words when it encodes, which changes nothing because no merge joins a letter to anything else.
"""

import json
import os
import sys

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from corpus import HELD_OUT, read_corpus, split, stretches

QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
UNIT_PATTERN = r"▁?[A-Za-z]+|▁?[^A-Za-z▁\s]+|▁|\s"
TEXT_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
EMBEDDING_SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>"]


def special(token, identifier):
    return {
        "id": identifier, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
        "normalized": False, "special": True,
    }


def make_text_tokenizer(text, vocabulary):
    tokenizer = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix=""))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN_PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
    ])
    tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(TEXT_SPECIAL), min_frequency=2, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator([text], trainer)
    form = json.loads(tokenizer.to_str())
    first = len(form["model"]["vocab"])
    assert first == vocabulary - len(TEXT_SPECIAL)
    form["added_tokens"] = [special(token, first + i) for i, token in enumerate(TEXT_SPECIAL)]
    return form


def make_embedding_tokenizer(text, vocabulary):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(UNIT_PATTERN), "isolated")
    pieces = vocabulary - len(EMBEDDING_SPECIAL) - 256
    letters = sorted({chr(c) for c in range(0x20, 0x7F)} - {" "} | {"▁", "\n"})
    tokenizer.train_from_iterator(
        [text], trainers.BpeTrainer(vocab_size=pieces, min_frequency=2, show_progress=False, initial_alphabet=letters)
    )
    form = json.loads(tokenizer.to_str())
    order = sorted(form["model"]["vocab"].items(), key=lambda entry: entry[1])
    names = EMBEDDING_SPECIAL + [f"<0x{byte:02X}>" for byte in range(256)] + [piece for piece, _ in order]
    assert len(names) == vocabulary and len(set(names)) == vocabulary
    form["model"].update(
        unk_token="<unk>", fuse_unk=True, byte_fallback=True, vocab={name: i for i, name in enumerate(names)}
    )
    form["added_tokens"] = [special(token, i) for i, token in enumerate(EMBEDDING_SPECIAL)]
    form["pre_tokenizer"] = {
        "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False,
    }
    bos, eos = ({"SpecialToken": {"id": token, "type_id": 0}} for token in ("<bos>", "<eos>"))
    bos2, eos2 = ({"SpecialToken": {"id": token, "type_id": 1}} for token in ("<bos>", "<eos>"))
    a, b = ({"Sequence": {"id": name, "type_id": i}} for i, name in enumerate("AB"))
    form["post_processor"] = {
        "type": "TemplateProcessing", "single": [bos, a, eos], "pair": [bos, a, eos, bos2, b, eos2],
        "special_tokens": {t: {"id": t, "ids": [i], "tokens": [t]} for i, t in ((2, "<bos>"), (1, "<eos>"))},
    }
    form["decoder"] = {
        "type": "Sequence",
        "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        ],
    }
    return form


def write(form, path):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(form, file, ensure_ascii=False, separators=(",", ":"))
    Tokenizer.from_file(path)


if __name__ == "__main__":
    corpus, out = sys.argv[1:3]
    os.makedirs(out, exist_ok=True)
    text = read_corpus(corpus)
    train, _ = split(text, 0.9, 1)
    pieces, _ = stretches(text, {HELD_OUT})
    for size in map(int, sys.argv[3].split(",") if len(sys.argv) > 3 else [2048]):
        write(make_text_tokenizer(train, size), f"{out}/text-{size}.json")
    for size in map(int, sys.argv[4].split(",") if len(sys.argv) > 4 else [4096]):
        write(make_embedding_tokenizer("".join(pieces), size), f"{out}/embedding-{size}.json")
