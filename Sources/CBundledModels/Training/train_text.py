"""Trains the text model: python train_text.py --data DIR --out DIR --name RUN [options]

DIR holds tinyshakespeare.txt and tok/text-N.json. Three quarters of every batch are plain text, one quarter the same
speeches as conversations: one speech is the user's, the next the assistant's. Each of the versions of the text that a
run draws from is segmented anew, half of them with BPE-dropout. Writes RUN.json (figures) and RUN.safetensors (bf16).
"""

import argparse
import json
import math
import random
import re

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer

from corpus import read_corpus, speeches, split
from decoder import Decoder, Shape
from optimiser import Clock, Trainer

from units import DroppingBPE

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


class Corpus:
    """The training text as units, and the conversations made of it."""

    def __init__(self, text, tokenizer, seed):
        self.cut = lambda s: [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(s)]
        self.units, self.number = [], {}
        self.plain = self.numbers(self.cut(text))
        starts, at = [], 0
        for block in re.split(r"(?<=\n\n)(?=[^\n])", text):
            starts.append(at)
            at += len(self.cut(block))
        assert at == len(self.plain), "a speech's end is not a unit's end"
        self.plain_starts = np.array(starts)
        self.chat, self.chat_starts = self.conversations(speeches(text), random.Random(seed))
        form = json.loads(tokenizer.to_str())
        self.special = {token: tokenizer.token_to_id(token) for token in SPECIAL}
        self.bpe = DroppingBPE(form["model"]["vocab"], form["model"]["merges"])

    def numbers(self, pieces):
        found = []
        for piece in pieces:
            if piece not in self.number:
                self.number[piece] = len(self.units)
                self.units.append(piece)
            found.append(self.number[piece])
        return np.array(found)

    def conversations(self, turns, source):
        """Every speech answered by the next one, in conversations of two to eight turns, four different cuts of the play."""
        pieces, starts = [], []
        cut = {speech: self.cut(speech) for _, speech in turns}
        for _ in range(4):
            at = source.randrange(2)
            while at + 2 <= len(turns):
                count = min(2 * source.choice((1, 1, 1, 2, 3, 4)), (len(turns) - at) // 2 * 2)
                talk = turns[at : at + count]
                starts.append(len(pieces))
                speakers = {name for name, _ in talk[1::2]}
                if len(speakers) == 1 and source.random() < 0.5:
                    pieces += ["<|im_start|>", *self.cut(f"system\nYou are {speakers.pop()}."), "<|im_end|>", "Ċ"]
                for i, (_, speech) in enumerate(talk):
                    role = ("user", "assistant")[i % 2]
                    pieces += ["<|im_start|>", *self.cut(role + "\n"), *cut[speech], "<|im_end|>", "Ċ"]
                at += count if source.random() < 0.5 else count - 1
        return self.numbers(pieces), np.array(starts)

    def versions(self, count, chance, seed):
        for i in range(count):
            table = self.bpe.table(self.units, self.special, chance if i % 2 else 0.0, seed * 1000 + i)
            plain, plain_first = table.stream(self.plain)
            chat, chat_first = table.stream(self.chat)
            yield plain, plain_first[self.plain_starts], chat, chat_first[self.chat_starts]


class Batches:
    """Random windows [B, T + 1] on the device: from anywhere in the text, or from a speech's start after <|endoftext|>."""

    def __init__(self, corpus, options, device):
        self.device, self.o = device, options
        self.plain, self.chat, self.plain_starts, self.chat_starts = [], [], [], []
        length = options.length + 2
        for plain, plain_starts, chat, chat_starts in corpus.versions(options.versions, options.bpe_dropout, options.seed):
            self.plain.append(torch.from_numpy(plain.astype(np.int64)).to(device))
            self.chat.append(torch.from_numpy(chat.astype(np.int64)).to(device))
            self.plain_starts.append(plain_starts[plain_starts < len(plain) - length])
            self.chat_starts.append(chat_starts[chat_starts < len(chat) - length])
        self.end = corpus.special["<|endoftext|>"]
        self.random = np.random.default_rng(options.seed)
        self.reach = torch.arange(options.length + 1, device=device)

    def next(self):
        r, length, rows = self.random, self.o.length + 1, []
        version = int(r.integers(len(self.plain)))
        chats = round(self.o.batch * self.o.chat_share)
        headed = max(1, (self.o.batch - chats) // 8)
        plain, chat = self.plain[version], self.chat[version]
        starts = r.integers(0, len(plain) - length - 1, self.o.batch - chats)
        starts[:headed] = r.choice(self.plain_starts[version], headed)
        rows = plain[torch.from_numpy(starts).to(self.device)[:, None] + self.reach]
        rows[:headed] = torch.cat([torch.full_like(rows[:headed, :1], self.end), rows[:headed, :-1]], 1)
        if chats:
            at = torch.from_numpy(r.choice(self.chat_starts[version], chats)).to(self.device)
            rows = torch.cat([rows, chat[at[:, None] + self.reach]])
        return [rows]


@torch.no_grad()
def bits_per_byte(model, ids, byte_count, end, context=1024, stride=512):
    """Each token is predicted from at least `context - stride` tokens before it, where there are so many."""
    device = next(model.parameters()).device
    ids = torch.tensor([end] + list(ids), device=device)
    total, at = 0.0, 0
    model.eval()
    while at < len(ids) - 1:
        begin = max(0, at + stride - context) if at else 0
        stop = min(begin + context, len(ids) - 1)
        x, y = ids[begin:stop][None], ids[begin + 1 : stop + 1]
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            logits = model.logits(x)[0].float()
        total += F.cross_entropy(logits[at - begin :], y[at - begin :], reduction="sum").item()
        at = stop
    model.train()
    return total / math.log(2) / byte_count


def main():
    p = argparse.ArgumentParser()
    for name in ("data", "out", "name"):
        p.add_argument(f"--{name}", required=True)
    for name, kind, default in (
        ("vocabulary", int, 1024), ("hidden", int, 192), ("layers", int, 7), ("query-heads", int, 4), ("kv-heads", int, 2),
        ("head", int, 64), ("intermediate", int, 384), ("dropout", float, 0.2), ("bpe-dropout", float, 0.1),
        ("decay", float, 0.1), ("rate", float, 2e-3), ("steps", int, 3000), ("batch", int, 24), ("length", int, 1024),
        ("chat-share", float, 0.25), ("versions", int, 16), ("seed", int, 1), ("until", float, 0.85), ("average", float, 0.998),
        ("minutes", float, 60.0),
    ):
        p.add_argument(f"--{name}", type=kind, default=default)
    o = p.parse_args()
    torch.manual_seed(o.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    clock = Clock()
    tokenizer = Tokenizer.from_file(f"{o.data}/tok/text-{o.vocabulary}.json")
    text = read_corpus(f"{o.data}/tinyshakespeare.txt")
    train, rest = split(text, o.until, o.until + 0.05)
    if o.until > 0.85:  # the last 10 % are not looked at here; what is printed is then of text that was learned from
        _, rest = split(text, 0.85, 0.9)
    shape = Shape("qwen3", o.vocabulary, o.hidden, o.layers, o.query_heads, o.kv_heads, o.head, o.intermediate, dropout=o.dropout)
    model = Decoder(shape).to(device)
    count = sum(parameter.numel() for parameter in model.parameters())
    corpus = Corpus(train, tokenizer, o.seed)
    batches = Batches(corpus, o, device)
    rest_ids = tokenizer.encode(rest).ids
    end = corpus.special["<|endoftext|>"]
    report = {"options": vars(o), "parameters": count, "curve": [], "prepared_s": clock.seconds()}
    print(o.name, "parameters", count, "tokens", len(batches.plain[0]), len(batches.chat[0]), "prepared", clock.seconds(), flush=True)

    def loss(rows):
        logits = model.logits(rows[:, :-1])
        return F.cross_entropy(logits.reshape(-1, logits.shape[-1]).float(), rows[:, 1:].reshape(-1))

    trainer = Trainer(model, loss, o.rate, o.decay, o.steps, average=o.average)
    model.train()
    every = max(1, o.steps // 6)
    for step in range(1, o.steps + 1):
        value = trainer.step(batches.next())
        if step == 200:
            value.item()
            warm = clock.seconds()
        if step == 400:  # a trial run that would outlast its minutes is made shorter, its schedule with it
            value.item()
            pace = (clock.seconds() - warm) / 200
            trainer.steps = min(o.steps, step + int((o.minutes * 60 - clock.seconds()) / pace))
            every = max(1, trainer.steps // 6)
            print(o.name, f"{pace * 1000:.1f} ms a step, {trainer.steps} steps", flush=True)
        if step % every == 0 or step == trainer.steps:
            figure = {"step": step, "train_nats": round(value.item(), 4), "s": clock.seconds()}
            figure["bits_per_byte"] = round(bits_per_byte(model, rest_ids, len(rest), end), 4)
            with trainer.averages():
                figure["averaged"] = round(bits_per_byte(model, rest_ids, len(rest), end), 4)
            report["curve"].append(figure)
            print(o.name, figure, flush=True)
            with open(f"{o.out}/{o.name}.json", "w") as file:
                json.dump(report, file)
        if step == trainer.steps:
            break
    with trainer.averages():
        save_file({name: tensor.bfloat16().contiguous() for name, tensor in model.state_dict().items()}, f"{o.out}/{o.name}.safetensors")


if __name__ == "__main__":
    main()
