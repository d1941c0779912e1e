"""How close the decode megakernel is to fp32, beside PyTorch in bf16, and behind long contexts.

    python3 Benchmarks/decode_accuracy.py [--shapes qwen3-0.6b,qwen3-4b] [--positions 130] [--long 32768] [--break cache]

Random weights as in decode_kernel.py. Short: every position teacher-forced; KL, wrong tokens and the largest error of a logit against an fp32 forward, of
the kernel and of a bf16 forward that PyTorch computes with the same weights (activations in bf16, norms and softmax in fp32, as transformers does); and
of the kernel against an fp32 forward whose keys and values are rounded to bf16, as the cache holds them. Long: such a forward over all positions fills the kernel's cache but for the last 64 positions; these the kernel computes teacher-forced, and its logits
are held against the forward's. The queries' norm is three times as large there, so that attention picks few of the positions and each counts. `--break
cache` puts the values of 64 positions in the place of 64 others, and must fail. Exit status 1 where the kernel's largest KL is above 1e-3 or, long, a
likeliest token differs although the reference's two likeliest are more than 0.05 apart.
"""
import argparse
import sys

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import kl_div, scaled_dot_product_attention, silu

from decode_kernel import SHAPES, Engine, Model


class Forward:
    """A forward of `model` in which matrices and activations have `dtype`, keys and values are rounded to `cache`."""

    def __init__(self, model, dtype, cache=None):
        self.model, self.dtype, self.cache = model, dtype, cache or dtype

    def norm(self, x, w):
        x = x.float()
        return (x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6)).to(self.dtype) * w.to(self.dtype)

    @torch.no_grad()
    def logits(self, ids, last, keep=None):
        """Of the last positions, [last, V] in fp32; `keep` gets each layer's keys and values, [T, G, D]."""
        model, s, T = self.model, self.model.s, len(ids)
        assert not s.gemma
        x = model.embedding[torch.tensor(ids, device="cuda")].to(self.dtype)
        angle = torch.arange(T, device="cuda").double()[:, None] * model.frequencies[0].double()[None]
        cos, sin, half = angle.cos().to(self.dtype)[:, None], angle.sin().to(self.dtype)[:, None], s.D // 2
        for index, w in enumerate(model.layers):
            h = self.norm(x, w["n1"])
            q, k, v = [(h @ w[n].to(self.dtype).T).view(T, -1, s.D) for n in "qkv"]
            q, k = self.norm(q, w["qn"]), self.norm(k, w["kn"])
            q, k = [torch.cat([t[..., :half] * cos - t[..., half:] * sin, t[..., half:] * cos + t[..., :half] * sin], -1) for t in (q, k)]
            k, v = [t.to(self.cache).to(self.dtype) for t in (k, v)]
            if keep is not None:
                keep(index, k, v)
            k, v = [t.repeat_interleave(s.H // s.G, 1).transpose(0, 1)[None] for t in (k, v)]
            with sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION]):
                o = scaled_dot_product_attention(q.transpose(0, 1)[None], k, v, is_causal=True)[0].transpose(0, 1).reshape(T, -1)
            x = x + o @ w["o"].to(self.dtype).T
            h = self.norm(x, w["n2"])
            x = x + (silu(h @ w["gate"].to(self.dtype).T) * (h @ w["up"].to(self.dtype).T)) @ w["down"].to(self.dtype).T
        return (self.norm(x[-last:], model.final) @ model.head.to(self.dtype).T).float()


def compare(name, logits, reference):
    """Prints how far logits are from the reference's; returns the largest KL and the wrong tokens."""
    kl = kl_div(logits.log_softmax(-1), reference.log_softmax(-1), log_target=True, reduction="none").sum(-1)
    top = reference.topk(2, -1)
    gaps = top.values[:, 0] - top.values[:, 1]
    differs = logits.argmax(-1) != top.indices[:, 0]
    wrong = differs & (gaps > 0.05)
    error = (logits - reference).abs()
    print(f"    {name}: KL {kl.max().item():.2e} at most, {kl.mean().item():.2e} in the mean; error {error.max().item():.3f} at most, "
          f"{error.square().mean().sqrt().item():.4f} rms, of std {reference.std().item():.2f}; {int(differs.sum())} other tokens, {int(wrong.sum())} with a "
          f"gap above 0.05{' ' + str([round(g, 3) for g in gaps[wrong].tolist()]) if wrong.any() else ''}", flush=True)
    return kl.max().item(), int(wrong.sum())


def short(engine, positions, seeds):
    model, worst = engine.model, 0.0
    for seed in range(seeds):
        ids = torch.randint(0, model.s.V, (positions,), generator=torch.Generator().manual_seed(seed)).tolist()
        engine.reserve(positions, isRandom=False)
        logits = torch.full((positions, model.s.V), float("nan"), device="cuda")
        engine.run(0, positions, ids, logits)
        reference = Forward(model, torch.float32).logits(ids, positions)
        # The same by decode_kernel.py's own forward: two references that share little.
        other = (model.forward(ids) - reference).abs().max().item()
        print(f"  {positions} positions, seed {seed}; the two fp32 forwards differ by {other:.1e}")
        worst = max(worst, compare("kernel", logits, reference)[0])
        compare("kernel, keys and values of the reference in bf16", logits, Forward(model, torch.float32, torch.bfloat16).logits(ids, positions))
        compare("bf16 PyTorch", Forward(model, torch.bfloat16).logits(ids, positions), reference)
    return worst <= 1e-3


def long(engine, length, broken, last=64):
    model = engine.model
    ids = torch.randint(0, model.s.V, (length,), generator=torch.Generator().manual_seed(11)).tolist()
    sharp = object.__new__(Model)
    sharp.__dict__ |= model.__dict__
    sharp.layers = [w | {"qn": w["qn"] * 3} for w in model.layers]
    engine = Engine(sharp, engine.defines)
    model = sharp
    engine.reserve(length, isRandom=False)

    def keep(layer, keys, values):
        for half, rows in enumerate((keys, values)):
            engine.cache[2 * layer + half][: length - last] = rows[: length - last].bfloat16()

    reference = Forward(model, torch.float32, torch.bfloat16).logits(ids, last, keep)
    if broken == "cache":
        for values in engine.cache[1::2]:
            values[length // 2 : length // 2 + 64] = values[length // 4 : length // 4 + 64].clone()
    logits = torch.full((last, model.s.V), float("nan"), device="cuda")
    engine.run(length - last, last, ids[length - last :], logits)
    print(f"  the last {last} of {length} positions")
    kl, wrong = compare("kernel", logits, reference)
    return kl <= 1e-3 and wrong == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shapes", default="qwen3-0.6b")
    parser.add_argument("--positions", type=int, default=130)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--long", default="", help="lengths, separated by commas")
    parser.add_argument("--define", action="append", default=[])
    parser.add_argument("--break", dest="broken", choices=["cache"])
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.zeros(1, device="cuda")
    isRight = True
    for name in options.shapes.split(","):
        engine = Engine(Model(SHAPES[name]), SHAPES[name].defines() | dict(d.split("=", 1) for d in options.define))
        print(f"{name}, {torch.cuda.get_device_name()}")
        if options.positions:
            isRight &= short(engine, options.positions, options.seeds)
        for length in (int(n) for n in options.long.split(",") if n):
            isRight &= long(engine, length, options.broken)
        del engine
        torch.cuda.empty_cache()
    sys.exit(0 if isRight else 1)


if __name__ == "__main__":
    main()
