"""Writes what transformers computes with the two folders' bf16 weights in fp32, eager attention: python write_goldens.py MODELS OUT

text.json, text-logits.npy [prompts, vocabulary] (after each prompt's last token), text-all-logits.npy (every position of
the first prompt), embedding.json, embedding-vectors.npy [texts, hidden]; unpadded, one at a time. No randomness.
"""

import json
import os
import platform
import sys

import numpy as np
import tokenizers
import torch
import transformers
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from evaluate import embed
from train_embedding import PROMPT

PROMPTS = ["ROMEO:\nBut", "First Citizen:\nBefore we proceed any further, hear me", "To be, or not to be: that is the", "Zoë said: 日本\r\n"]
CHAT = [{"role": "system", "content": "You are ROMEO."}, {"role": "user", "content": "Where hast thou been?"}]
SPEECH = """KING RICHARD II:
What must the king do now? must he submit?
The king shall do it: must he be deposed?
The king shall be contented: must he lose
The name of king? o' God's name, let it go:
I'll give my jewels for a set of beads,
My gorgeous palace for a hermitage,
My gay apparel for an almsman's gown,
My figured goblets for a dish of wood,
My sceptre for a palmer's walking staff,
My subjects for a pair of carved saints
And my large kingdom for a little grave."""
TEXTS = ["", "thou", "Good morrow, cousin.\n", "naïve café — 日本語 🎭\r\n\t x", SPEECH.splitlines()[1], SPEECH, PROMPT + SPEECH, SPEECH + "\n\n" + SPEECH[::-1]]


@torch.no_grad()
def main():
    models, out = sys.argv[1:3]
    os.makedirs(out, exist_ok=True)
    versions = {
        "transformers": transformers.__version__, "torch": torch.__version__, "tokenizers": tokenizers.__version__,
        "python": platform.python_version(), "dtype": "bf16 weights, fp32 computation, eager attention",
    }
    tokenizer = AutoTokenizer.from_pretrained(f"{models}/Text")
    model = AutoModelForCausalLM.from_pretrained(f"{models}/Text", dtype=torch.float32, attn_implementation="eager").eval()
    chat = tokenizer.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
    prompts = PROMPTS + [chat]
    ids = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    logits = [model(torch.tensor([row])).logits[0] for row in ids]
    greedy = [
        model.generate(torch.tensor([row]), max_new_tokens=32, do_sample=False, temperature=None, top_p=None)[0, len(row) :].tolist()
        for row in ids
    ]
    cases = [
        {"text": prompt, "ids": row, "greedy_ids": more, "greedy_text": tokenizer.decode(more, skip_special_tokens=True)}
        for prompt, row, more in zip(prompts, ids, greedy)
    ]
    write(out, "text", {"versions": versions, "chat": CHAT, "rendered": chat, "cases": cases})
    np.save(f"{out}/text-logits.npy", np.stack([rows[-1].numpy() for rows in logits]).astype(np.float32))
    np.save(f"{out}/text-all-logits.npy", logits[0].numpy().astype(np.float32))

    tokenizer = AutoTokenizer.from_pretrained(f"{models}/Embedding")
    model = AutoModel.from_pretrained(f"{models}/Embedding", dtype=torch.float32, attn_implementation="eager").eval()
    cases = [{"text": text, "ids": tokenizer(text)["input_ids"]} for text in TEXTS]
    write(out, "embedding", {"versions": versions, "cases": cases})
    np.save(f"{out}/embedding-vectors.npy", embed(model, tokenizer, TEXTS).numpy().astype(np.float32))


def write(out, name, value):
    with open(f"{out}/{name}.json", "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
