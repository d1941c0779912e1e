"""Trains the embedder: python train_embedding.py --data DIR --out DIR --name RUN [options]

A batch is some runs of consecutive passages of about the same, random length, from random places; a passage (after the
query prompt) must find the next one among all of the batch (InfoNCE), and the other way round. Itself is left out, and
so is the one before it, which is a neighbour too. The text is disguised anew for each version (disguise.py).
Writes RUN.json (figures) and RUN.safetensors (bf16).
"""

import argparse
import json

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer

from corpus import HELD_OUT, VALIDATION, passages, read_corpus, stretches
from decoder import Decoder, Shape
from disguise import Disguises
from optimiser import Clock, Trainer
from topics import start_from_topics, topic_vectors

PROMPT = "query:\n"
PAD, EOS, BOS = 0, 1, 2


def pool(hidden, lengths, pooling):
    """Unit vectors [N, C] of hidden states [N, T, C], padded on the right."""
    hidden = hidden.float()
    if pooling == "last":
        vectors = hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1]
    else:
        mask = torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]
        vectors = (hidden * mask[..., None]).sum(1) / lengths[:, None]
    return F.normalize(vectors, dim=-1)


def recall(scores, follows, k=10):
    """Of the passages i that have a successor (`follows`), how many have it, i + 1, among the k best of all others."""
    scores = scores.clone().fill_diagonal_(-torch.inf)
    right = scores.diagonal(1)
    found = (scores[:-1] > right[:, None]).sum(1) < k
    return found[follows[:-1].to(found.device)].float().mean().item()


def held_out_passages(held, character_count=500):
    """(passages, follows): the passages of all stretches, and whether the next one is of the same stretch."""
    texts, follows = [], []
    for stretch in held:
        found = passages(stretch, character_count)
        texts += found
        follows += [True] * (len(found) - 1) + [False]
    return texts, torch.tensor(follows)


class Batches:
    """Runs of consecutive passages as padded ids, made on the device."""

    def __init__(self, pieces, tokenizer, options, device):
        self.o, self.device = options, device
        self.random = np.random.default_rng(options.seed)
        prompt = tokenizer.encode(PROMPT, add_special_tokens=False).ids
        self.prompt = torch.tensor([BOS, *prompt], device=device)
        self.ends = np.cumsum([len(piece) for piece in pieces])
        disguises = Disguises("".join(pieces), tokenizer, options.seed)
        self.versions = []
        for i in range(options.versions):
            disguised = self.random.random() < options.disguised
            share = float(self.random.choice((0.0, 0.2, 0.5))) if disguised else 0.0
            left_out = options.left_out * self.random.random()
            tokens, lines, characters = disguises.version(self.random, float(disguised), share, left_out)
            self.versions.append((torch.from_numpy(tokens.astype(np.int64)).to(device), lines, characters))

    def bounds(self, lines, characters, size):
        """Token bounds [N + 1] of consecutive passages from a random place, within one piece of the training text."""
        r = self.random
        while True:
            ends = np.cumsum(np.maximum(120, size * r.uniform(0.8, 1.2, self.o.passages)))
            begin = characters[int(r.integers(len(characters)))]
            piece = np.searchsorted(self.ends, begin, side="right")
            if piece < len(self.ends) and begin + ends[-1] < self.ends[piece] - 100:
                return lines[np.searchsorted(characters, np.concatenate([[begin], begin + ends]))]

    def next(self):
        length, r = self.o.length, self.random
        tokens, lines, characters = self.versions[int(r.integers(len(self.versions)))]
        size = r.uniform(350, 650)
        bounds = [self.bounds(lines, characters, size) for _ in range(self.o.runs)]
        start = torch.from_numpy(np.concatenate([b[:-1] for b in bounds])).to(self.device)
        # the line's end is no part of a passage
        count = torch.from_numpy(np.concatenate([np.diff(b) - 1 for b in bounds])).to(self.device).clamp(min=1)
        rows, counts = [], []
        for head in (self.prompt if r.random() < 0.8 else self.prompt[:1], self.prompt[:1]):
            kept = count.clamp(max=length - len(head) - 1)
            reach = torch.arange(length - len(head), device=self.device)
            body = tokens[(start[:, None] + reach).clamp(max=len(tokens) - 1)]
            body = torch.where(reach < kept[:, None], body, PAD)
            body = torch.where(reach == kept[:, None], EOS, body)
            rows.append(torch.cat([head.expand(len(start), -1), body], 1))
            counts.append(kept + len(head) + 1)
        return [torch.cat(rows), torch.cat(counts)]


@torch.no_grad()
def validate(model, tokenizer, sets, pooling):
    """[with the query prompt, without]: the mean recall of some sets of (passages, follows)."""
    device = next(model.parameters()).device
    model.eval()

    def encode(texts):
        encoded = [tokenizer.encode(text).ids for text in texts]
        width = max(map(len, encoded))
        ids = torch.tensor([e + [PAD] * (width - len(e)) for e in encoded], device=device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            hidden = model(ids)
        return pool(hidden, torch.tensor([len(e) for e in encoded], device=device), pooling)

    sums = [0.0, 0.0]
    for texts, follows in sets:
        documents = encode(texts)
        for i, queries in enumerate((encode([PROMPT + text for text in texts]), documents)):
            sums[i] += recall(queries @ documents.T, follows) / len(sets)
    model.train()
    return [round(value, 4) for value in sums]


def main():
    p = argparse.ArgumentParser()
    for name in ("data", "out", "name"):
        p.add_argument(f"--{name}", required=True)
    for name, kind, default in (
        ("vocabulary", int, 3072), ("hidden", int, 256), ("layers", int, 6), ("query-heads", int, 2), ("kv-heads", int, 1),
        ("head", int, 64), ("intermediate", int, 128), ("window", int, 64), ("full-every", int, 6), ("pooling", str, "mean"),
        ("dropout", float, 0.1), ("temperature", float, 0.05), ("topics", int, 1), ("spread", float, 0.0), ("disguised", float, 0.0), ("left-out", float, 0.4), ("decay", float, 0.1),
        ("rate", float, 5e-4), ("steps", int, 250), ("warmup", int, 40), ("norms", float, 4.0), ("runs", int, 12), ("passages", int, 20), ("length", int, 208),
        ("versions", int, 100), ("seed", int, 1), ("final", int, 0), ("average", float, 0.99), ("minutes", float, 60.0),
    ):
        p.add_argument(f"--{name}", type=kind, default=default)
    o = p.parse_args()
    torch.manual_seed(o.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    clock = Clock()
    tokenizer = Tokenizer.from_file(f"{o.data}/tok/embedding-{o.vocabulary}.json")
    text = read_corpus(f"{o.data}/tinyshakespeare.txt")
    # with --final, what is printed is of text that was learned from; the held-out stretches are not looked at here
    pieces, _ = stretches(text, {HELD_OUT} if o.final else {HELD_OUT, VALIDATION})
    _, held = stretches(text, {VALIDATION})
    sets = [held_out_passages(held, count) for count in (400, 500, 600)]
    shape = Shape(
        "gemma3", o.vocabulary, o.hidden, o.layers, o.query_heads, o.kv_heads, o.head, o.intermediate,
        rope_base=1e6, local_rope_base=1e4, window=o.window, full_every=o.full_every, dropout=o.dropout,
    )
    model = Decoder(shape).to(device)
    count = sum(parameter.numel() for parameter in model.parameters())
    batches = Batches(pieces, tokenizer, o, device)
    if o.topics:
        texts = [tokenizer.encode(text).ids for piece in pieces for text in passages(piece)]
        start_from_topics(model, topic_vectors(texts, o.vocabulary, o.hidden - 1, 4), o.spread)
    start = validate(model, tokenizer, sets, o.pooling)
    report = {"options": vars(o), "parameters": count, "curve": [], "prepared_s": clock.seconds()}
    print(o.name, "parameters", count, "tokens", len(batches.versions[0][0]), "prepared", clock.seconds(), "recall", start, flush=True)

    n = o.runs * o.passages
    i = torch.arange(n, device=device)
    gap = i[None, :] - i[:, None]
    ignored = (gap == 0) | (gap == -1)
    asked = i[(i + 1) % o.passages != 0]  # those whose successor is in the same run

    def loss(ids, lengths):
        queries, documents = pool(model(ids), lengths, o.pooling).chunk(2)
        scores = (queries @ documents.T / o.temperature).masked_fill(ignored, -1e4)
        return (F.cross_entropy(scores[asked], asked + 1) + F.cross_entropy(scores.T[asked + 1], asked)) / 2

    trainer = Trainer(model, loss, o.rate, o.decay, o.steps, o.warmup, average=o.average, norms=o.norms)
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
            figure = {"step": step, "loss": round(value.item(), 4), "s": clock.seconds()}
            figure["recall"] = validate(model, tokenizer, sets, o.pooling)
            with trainer.averages():
                figure["averaged"] = validate(model, tokenizer, sets, o.pooling)
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
