"""PyTorch beside `apus bench embed`: the embedding forward of a Gemma3-270m-shaped model under torch.compile(max-autotune).

    apus bench embed --peer "python3 Benchmarks/peers/torch_embed.py"

Two forms, random weights, bf16, last token, L2 norm: "published" is the published benchmark's script, which gives every layer the table of the
full-attention layers and no window; "right" is transformers' own forward, with both rope bases and the 512 window. --layers compiles the layers one by
one instead of the whole forward, as one of them serves all: much sooner ready. Prints one JSON object a line; medians of the time from the end of a
forward to that of the next, several being on their way, behind a warm-up. Compiling takes most of the time: --seconds ends the run before a compilation that would start later.
"""

import argparse
import json
import statistics
import sys
import time

import torch
import torch._dynamo
import torch.nn.functional as F
from transformers import Gemma3TextConfig, Gemma3TextModel

parser = argparse.ArgumentParser()
parser.add_argument("shapes", nargs="*", default=["128x64", "256x32", "512x16", "1024x8", "4096x16", "10240x4"], help="LENGTHxTEXTS")
parser.add_argument("--mode", default="max-autotune", help="torch.compile's mode, or eager")
parser.add_argument("--forms", default="published,right")
parser.add_argument("--runs", type=int, default=20)
parser.add_argument("--layers", action="store_true", help="compile a layer, not the whole")
parser.add_argument("--seconds", type=float, help="start nothing after this time")
arguments = parser.parse_args()
began = time.time()

torch.set_float32_matmul_precision("high")
torch._dynamo.config.recompile_limit = 64
torch.manual_seed(0)
model = Gemma3TextModel(Gemma3TextConfig(
    vocab_size=262144, hidden_size=640, intermediate_size=2048, num_hidden_layers=18, num_attention_heads=4, num_key_value_heads=1, head_dim=256,
    query_pre_attn_scalar=256, sliding_window=512, max_position_embeddings=32768)).to(torch.bfloat16).cuda().eval()
if arguments.layers and arguments.mode != "eager":
    for layer in model.layers:
        layer.compile(mode=arguments.mode, dynamic=False)


def published(ids, positions):
    x = model.embed_tokens(ids)
    tables = model.rotary_emb(x, positions, "full_attention")
    for layer in model.layers:
        x = layer(x, position_embeddings=tables, position_ids=positions)
        x = x[0] if isinstance(x, tuple) else x
    return F.normalize(model.norm(x)[:, -1, :], dim=-1)


def right(ids, positions):
    return F.normalize(model(input_ids=ids, use_cache=False).last_hidden_state[:, -1, :], dim=-1)


for shape in arguments.shapes:
    length, texts = map(int, shape.split("x"))
    ids = torch.randint(1, 262144, (texts, length), device="cuda")
    positions = torch.arange(length, device="cuda").unsqueeze(0).expand(texts, -1)
    for name in arguments.forms.split(","):
        started = time.time()
        if arguments.seconds is not None and started - began > arguments.seconds:
            print(f"{name} {shape} left out: {arguments.seconds} s are over", file=sys.stderr)
            continue
        if not arguments.layers:
            torch._dynamo.reset()
        forward = {"published": published, "right": right}[name]
        if arguments.mode != "eager" and not arguments.layers:
            forward = torch.compile(forward, mode=arguments.mode, dynamic=False)
        try:
            with torch.no_grad():
                ends = []
                for run in range(arguments.runs + 5):
                    forward(ids, positions)
                    ends.append(torch.cuda.Event(enable_timing=True))
                    ends[-1].record()
                torch.cuda.synchronize()
                times = [before.elapsed_time(end) for before, end in zip(ends[4:], ends[5:])]
        except Exception as error:
            print(f"{name} {shape} failed: {error!r}"[:300], file=sys.stderr)
            continue
        ms = statistics.median(times)
        print(json.dumps({
            "name": f"PyTorch {torch.__version__} {name}, {arguments.mode}{', by layers' if arguments.layers else ''}", "shape": shape, "ms": ms, "tokens_per_second": length * texts / ms * 1e3,
            "setup_seconds": time.time() - started}), flush=True)
