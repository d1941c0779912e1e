"""Vectors of an encoder folder by transformers, fp32 and eager: what a GPU's vectors are held against.

    apus tokenize FOLDER --input texts.jsonl > ids.jsonl
    apus embed FOLDER --input texts.jsonl --device cuda --output ours.npy
    python3 Benchmarks/peers/transformers_vectors.py FOLDER ids.jsonl --compare ours.npy

The weights are read as they are and widened to fp32; each text is computed by itself. Prints the lowest and the mean cosine; exit status 1 below
--bound.
"""

import argparse
import json
import os
import sys

import numpy
import torch
import transformers

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("ids", help="a JSON array of token ids a line")
parser.add_argument("--compare", action="append", default=[], help="a .npy file of vectors")
parser.add_argument("--output", help="where the vectors go, as .npy")
parser.add_argument("--bound", type=float, default=0.9999)
parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
arguments = parser.parse_args()

torch.backends.cuda.matmul.allow_tf32 = False
model = transformers.AutoModel.from_pretrained(arguments.folder, dtype=torch.float32, attn_implementation="eager").to(arguments.device).eval()
pooling, dense = {"pooling_mode_lasttoken": True}, []
if os.path.exists(f"{arguments.folder}/modules.json"):
    from safetensors.torch import load_file
    for module in json.load(open(f"{arguments.folder}/modules.json")):
        path = f"{arguments.folder}/{module['path']}"
        if module["type"].endswith("Pooling"):
            pooling = json.load(open(f"{path}/config.json"))
        if module["type"].endswith("Dense"):
            dense.append(load_file(f"{path}/model.safetensors")["linear.weight"].float().to(arguments.device))

vectors = []
with torch.no_grad():
    for line in open(arguments.ids):
        ids = torch.tensor([json.loads(line)], device=arguments.device)
        hidden = model(input_ids=ids, use_cache=False).last_hidden_state[0]
        vector = hidden.mean(0) if pooling.get("pooling_mode_mean_tokens") else hidden[0] if pooling.get("pooling_mode_cls_token") else hidden[-1]
        for weight in dense:
            vector = weight @ vector
        vectors.append(torch.nn.functional.normalize(vector, dim=0).cpu().numpy())
vectors = numpy.stack(vectors)
if arguments.output:
    numpy.save(arguments.output, vectors)
failed = False
for path in arguments.compare:
    other = numpy.load(path)
    assert other.shape == vectors.shape, f"{path} has the shape {other.shape}, expected {vectors.shape}"
    cosines = (other.astype(numpy.float64) * vectors).sum(1) / (numpy.linalg.norm(other.astype(numpy.float64), axis=1) * numpy.linalg.norm(vectors.astype(numpy.float64), axis=1))
    failed |= not cosines.min() >= arguments.bound
    print(f"{path}: {len(cosines)} vectors, cosine lowest {cosines.min():.7f}, mean {cosines.mean():.7f}, transformers {transformers.__version__}")
sys.exit(failed)
