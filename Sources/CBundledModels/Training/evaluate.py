"""Measures the two folders with transformers, their bf16 weights computed in fp32: python evaluate.py CORPUS MODELS

Prints the figures of README.md as JSON, the baselines' beside them, and some text that the model makes up.
"""

import collections
import json
import lzma
import math
import sys

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from corpus import HELD_OUT, VALIDATION, passages, read_corpus, split, stretches, words
from train_embedding import PROMPT, held_out_passages, pool, recall


def bigram_bits(train, text, strength):
    """Bits per byte of P(b | a) = (n(ab) + strength * P(b)) / (n(a) + strength), P(b) with one more of each byte."""
    pairs, single = np.zeros((256, 256)), np.ones(256)
    data = np.frombuffer(train.encode(), dtype=np.uint8)
    np.add.at(pairs, (data[:-1], data[1:]), 1)
    np.add.at(single, data, 1)
    chance = (pairs + strength * single / single.sum()) / (pairs.sum(1, keepdims=True) + strength)
    data = np.frombuffer((train[-1] + text).encode(), dtype=np.uint8)
    return float(-np.log2(chance[data[:-1], data[1:]]).mean())


def text_baselines(text):
    train, held = split(text, 0.9, 1)
    strength = min((1, 3, 10, 30, 100, 300), key=lambda s: bigram_bits(*split(text, 0.85, 0.9), s))
    size = lambda s: len(lzma.compress(s.encode(), preset=9))
    return {
        "byte bigram": round(bigram_bits(train, held, strength), 4), "bigram strength": strength,
        "xz -9, held-out part alone": round(size(held) * 8 / len(held), 4),
        "xz -9, added to the training part": round((size(text) - size(train)) * 8 / len(held), 4),
        "held-out bytes": len(held),
    }


@torch.no_grad()
def bits_per_byte(model, tokenizer, text, context=1024, stride=512):
    ids = torch.tensor([tokenizer.convert_tokens_to_ids("<|endoftext|>")] + tokenizer(text)["input_ids"])
    total, at = 0.0, 0
    while at < len(ids) - 1:
        begin = max(0, at + stride - context) if at else 0
        stop = min(begin + context, len(ids) - 1)
        logits = model(ids[begin:stop][None]).logits[0, at - begin :].float()
        total += F.cross_entropy(logits, ids[at + 1 : stop + 1], reduction="sum").item()
        at = stop
    return round(total / math.log(2) / len(text), 4)


def bm25(texts, k1=1.2, b=0.75):
    documents = [collections.Counter(words(text)) for text in texts]
    frequency = collections.Counter(word for document in documents for word in document)
    length = np.array([sum(document.values()) for document in documents])
    scores = np.zeros((len(texts), len(texts)))
    for j, document in enumerate(documents):
        for word, count in document.items():
            idf = math.log(1 + (len(texts) - frequency[word] + 0.5) / (frequency[word] + 0.5))
            part = idf * count * (k1 + 1) / (count + k1 * (1 - b + b * length[j] / length.mean()))
            scores[:, j] += [query[word] * part for query in documents]
    return torch.from_numpy(scores)


def jaccard(texts):
    sets = [set(words(text)) for text in texts]
    return torch.tensor([[len(a & b) / max(1, len(a | b)) for b in sets] for a in sets])


@torch.no_grad()
def embed(model, tokenizer, texts, pooling="mean"):
    vectors = []
    for text in texts:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        vectors.append(pool(model(ids).last_hidden_state, torch.tensor([ids.shape[1]]), pooling))
    return torch.cat(vectors)


def retrieval(model, tokenizer, texts, follows):
    documents, queries = embed(model, tokenizer, texts), embed(model, tokenizer, [PROMPT + text for text in texts])
    rows = {"model, query prompt": queries @ documents.T, "model, no prompt": documents @ documents.T}
    rows |= {"BM25": bm25(texts), "Jaccard": jaccard(texts)}
    figures = {name: round(recall(scores, follows), 4) for name, scores in rows.items()}
    figures |= {"random": round(10 / (len(texts) - 1), 4), "passages": len(texts), "queries": int(follows.sum())}
    return figures


def main():
    corpus, models = sys.argv[1:3]
    text = read_corpus(corpus)
    tokenizer = AutoTokenizer.from_pretrained(f"{models}/Text")
    model = AutoModelForCausalLM.from_pretrained(f"{models}/Text", dtype=torch.float32, attn_implementation="eager").eval()
    _, held = split(text, 0.9, 1)
    report = {"text": {"model": bits_per_byte(model, tokenizer, held)} | text_baselines(text)}
    report["text"]["parameters"] = model.num_parameters()
    print(json.dumps(report, indent=1), flush=True)

    embedder_tokenizer = AutoTokenizer.from_pretrained(f"{models}/Embedding")
    embedder = AutoModel.from_pretrained(f"{models}/Embedding", dtype=torch.float32, attn_implementation="eager").eval()
    _, stretches_held = stretches(text, {HELD_OUT})
    texts, follows = held_out_passages(stretches_held)
    unseen = passages(held)
    _, chosen_by = stretches(text, {VALIDATION})
    report["embedding"] = {
        "parameters": embedder.num_parameters(),
        "held-out stretches": retrieval(embedder, embedder_tokenizer, texts, follows),
        "last 10 %": retrieval(
            embedder, embedder_tokenizer, unseen, torch.tensor([True] * (len(unseen) - 1) + [False])
        ),
        "validation stretches, learned from": retrieval(embedder, embedder_tokenizer, *held_out_passages(chosen_by)),
    }
    far = embedder.config.sliding_window
    for layer in embedder.layers:
        layer.self_attn.sliding_window = None
    kept, embedder.config.sliding_window = far, 100_000
    without = embed(embedder, embedder_tokenizer, texts[:20])
    embedder.config.sliding_window = kept
    with_window = embed(embedder, embedder_tokenizer, texts[:20])
    report["embedding"]["cosine with and without the window"] = round((without * with_window).sum(1).mean().item(), 5)
    print(json.dumps(report["embedding"], indent=1), flush=True)

    torch.manual_seed(1)
    stop = tokenizer.convert_tokens_to_ids("<|im_end|>")
    turns = [
        [{"role": "user", "content": "Good morrow, friend. What news?"}],
        [{"role": "user", "content": "Hello! Who are you and what can you do?"}],
        [{"role": "system", "content": "You are ROMEO."}, {"role": "user", "content": "Where hast thou been?"}],
    ]
    prompts = ["ROMEO:\n", "First Citizen:\nSpeak, speak.\n\n", ""]
    prompts = [p or "<|endoftext|>" for p in prompts]
    prompts += [tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True) for turn in turns]
    for prompt in prompts:
        ids = torch.tensor([tokenizer(prompt)["input_ids"]])
        out = model.generate(ids, max_new_tokens=120, do_sample=True, temperature=0.8, top_p=0.95, eos_token_id=stop)
        print("-----\n" + tokenizer.decode(out[0]), flush=True)
    if len(sys.argv) > 3:
        with open(sys.argv[3], "w") as file:
            json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()
