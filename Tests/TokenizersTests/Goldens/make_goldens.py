#!/usr/bin/env python3
"""Trains the small tokenizers of these tests from generated text and writes what `tokenizers` makes of nasty strings.

    pip install tokenizers==0.23.3
    python3 make_goldens.py         (in this folder; seeds are in the code)

NAME.json is a tokenizer.json, NAME.cases.json {"tokenizers": version, "seed": n, "cases": [...]} with cases as compare.py writes them.
"""
import json, pathlib, random

import compare
import nasty_strings
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

FOLDER = pathlib.Path(__file__).parent
SEED = 20240229
QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


def training_text():
    rng = random.Random(SEED)
    for _ in range(4000):
        yield " ".join(rng.choice(nasty_strings.ENGLISH if rng.random() < 0.7 else nasty_strings.WORDS) for _ in range(rng.randint(3, 12)))
    for _ in range(300):
        yield nasty_strings.fragment(rng)


def train(tokenizer, size, specials, alphabet=()):
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=specials, initial_alphabet=list(alphabet), show_progress=False)
    tokenizer.train_from_iterator(training_text(), trainer)
    return json.loads(tokenizer.to_str())


def added_tokens_of_all_kinds():
    return [
        AddedToken("<|im_start|>", special=True, normalized=False), AddedToken("<|im_end|>", special=True, normalized=False),
        AddedToken("<think>", special=False, normalized=False), AddedToken("</think>", special=False, normalized=False),
        AddedToken("[MASK]", special=True, lstrip=True, normalized=False), AddedToken("[CLS]", special=True, rstrip=True, normalized=False),
        AddedToken("<x>", special=False, single_word=True, normalized=False), AddedToken("xx", special=False, single_word=True, normalized=False),
        AddedToken("<xx>", special=False, lstrip=True, rstrip=True, normalized=False), AddedToken("<xxx>", special=False, normalized=True),
        AddedToken("<extra_1>", special=True, normalized=True), AddedToken("  ", special=False, normalized=False),
        AddedToken("night é", special=False, normalized=True), AddedToken("<|im_<|", special=False, normalized=False),
    ]


def with_byte_tokens(data, specials):
    """Puts <0x00>...<0xFF> behind the special tokens, as SentencePiece does."""
    tokens = sorted(data["model"]["vocab"], key=data["model"]["vocab"].get)
    ordered = specials + [f"<0x{b:02X}>" for b in range(256)] + [t for t in tokens if t not in specials]
    data["model"]["vocab"] = {t: i for i, t in enumerate(ordered)}
    for token in data["added_tokens"]:
        token["id"] = data["model"]["vocab"][token["content"]]
    return Tokenizer.from_str(json.dumps(data))


def byte_level():
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
    ])
    t.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    t = Tokenizer.from_str(json.dumps(train(t, 1500, [], pre_tokenizers.ByteLevel.alphabet())))
    t.add_tokens([AddedToken("<|endoftext|>", special=True, normalized=False)])
    t.add_tokens(added_tokens_of_all_kinds())
    end = t.token_to_id("<|endoftext|>")
    t.post_processor = processors.Sequence([
        processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
        processors.TemplateProcessing(single="$A <|endoftext|>", pair="$A <|endoftext|> $B:1 <|endoftext|>:1", special_tokens=[("<|endoftext|>", end)]),
    ])
    return t


def sentencepiece(normalizer, pre_tokenizer, decoder):
    specials = ["<pad>", "</s>", "<s>", "<unk>"]
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizer
    if pre_tokenizer: t.pre_tokenizer = pre_tokenizer
    t.decoder = decoder
    training = Tokenizer.from_str(t.to_str())
    training.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    data = train(training, 2200, specials)
    data["pre_tokenizer"] = json.loads(t.to_str())["pre_tokenizer"]
    t = with_byte_tokens(data, specials)
    t.add_tokens(added_tokens_of_all_kinds())
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", t.token_to_id("<s>"))])
    return t


def gemma_form():
    return sentencepiece(
        normalizers.Replace(" ", "▁"), pre_tokenizers.Split(" ", "merged_with_previous"),
        decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]))


def llama_form():
    return sentencepiece(
        normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None,
        decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]))


def mixed():
    """Steps that no well-known model combines; merges as single strings; unknown tokens, not fused."""
    t = Tokenizer(models.BPE(unk_token="<unk>"))
    t.normalizer = normalizers.Sequence([normalizers.Strip(), normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace(Regex(r"\s{2,}"), "  ")])
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Metaspace(prepend_scheme="first", split=True), pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.Punctuation("contiguous"),
    ])
    t.decoder = decoders.Metaspace(prepend_scheme="first")
    data = train(t, 1700, ["<unk>", "<s>", "</s>"])
    data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
    t = Tokenizer.from_str(json.dumps(data))
    t.add_tokens(added_tokens_of_all_kinds() + [AddedToken("NIGHT", special=False, normalized=True, single_word=True), AddedToken("ＡＢ", normalized=True)])
    t.post_processor = processors.BertProcessing(("</s>", t.token_to_id("</s>")), ("<s>", t.token_to_id("<s>")))
    return t, True


def gpt_form():
    """Prefix space, GPT-2's own pattern, words that are tokens need no merges."""
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True),
    ])
    t.decoder = decoders.ByteLevel()
    data = train(t, 900, ["<s>", "</s>"], pre_tokenizers.ByteLevel.alphabet())
    extra = ["Ġwork", "Ġnothing", "becausemore", "ĠâĢ", "123"]
    for token in extra:  # tokens without a merge that makes them
        data["model"]["vocab"].setdefault(token, len(data["model"]["vocab"]))
    t = Tokenizer.from_str(json.dumps(data))
    t.post_processor = processors.RobertaProcessing(("</s>", t.token_to_id("</s>")), ("<s>", t.token_to_id("<s>")))
    return t


def write(name, tokenizer, legacy_merges=False):
    data = json.loads(tokenizer.to_str())
    if legacy_merges:
        data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")))
    cases = list(compare.lines(Tokenizer.from_file(str(path)), SEED, 300))
    cases = [c for c in cases if len(json.dumps(c)) < 6000]
    text = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
    cases_path = FOLDER / f"{name}.cases.json"
    cases_path.write_text(f'{{"tokenizers":"{tokenizers.__version__}","seed":{SEED},"cases":[\n{text}\n]}}\n')
    print(name, tokenizer.get_vocab_size(), "tokens,", len(cases), "cases,", path.stat().st_size, cases_path.stat().st_size, "bytes")


if __name__ == "__main__":
    write("byte-level", byte_level())
    write("gemma-form", gemma_form())
    write("llama-form", llama_form())
    write("mixed", *mixed())
    write("gpt-form", gpt_form())
