#!/usr/bin/env python3
"""What Hugging Face `tokenizers` makes of nasty strings, for the test `DifferentialTests` to compare with.

    compare.py TOKENIZER.json SEED COUNT OUTPUT.jsonl           (a COUNT of 0: strings with every scalar there is)

Each line is {"text", "ids", "plain"} (ids with and without the post-processor's tokens, the decoded text of each) or {"ids", "kept", "skipped"} for
random ids. Made for tokenizers 0.23.3.
"""
import json, pathlib, sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import nasty_strings
from tokenizers import Tokenizer


def byte_tokens(tokenizer):
    """The ids of the 256 byte tokens, of either kind."""
    ids = [tokenizer.token_to_id(f"<0x{b:02X}>") for b in range(256)]
    if None in ids:
        printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
        others = [b for b in range(256) if b not in printable]
        ids = [tokenizer.token_to_id(chr(b if b in printable else 256 + others.index(b))) for b in range(256)]
    return None if None in ids else ids


def lines(tokenizer, seed, count):
    for text in nasty_strings.strings(seed, count) if count else nasty_strings.every_scalar():
        ids = tokenizer.encode(text).ids
        yield {
            "text": text, "ids": ids, "plain": tokenizer.encode(text, add_special_tokens=False).ids,
            "kept": tokenizer.decode(ids, skip_special_tokens=False), "skipped": tokenizer.decode(ids),
        }
    upper = max(tokenizer.get_vocab().values()) + 1
    special = [i for i, t in tokenizer.get_added_tokens_decoder().items() if t.special]
    for ids in nasty_strings.id_lists(seed, count // 4, upper, byte_tokens(tokenizer), special):
        yield {"ids": ids, "kept": tokenizer.decode(ids, skip_special_tokens=False), "skipped": tokenizer.decode(ids)}


def main():
    tokenizer = Tokenizer.from_file(sys.argv[1])
    tokenizer.no_truncation()
    tokenizer.no_padding()
    with open(sys.argv[4], "w") as output:
        for line in lines(tokenizer, int(sys.argv[2]), int(sys.argv[3])):
            output.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
