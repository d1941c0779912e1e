"""Draws of the decode megakernel against a plain copy of the host's sampler, and what they cost.

    python3 Benchmarks/decode_sampling.py [--shapes qwen3-0.6b,gemma3-270m,bundled] [--steps 40] [--contexts 1,200]

Random weights as in decode_kernel.py. A launch hands out its logits and its tokens: every token must be the one that the rules of
Sources/Apus/Sampling choose from these logits, written down here once more in NumPy, but where the draw lies within 1e-9 of a token's edge. Steps
that the kernel hands back to the host are counted. Exit status 1 for a wrong token; `--break order` draws in the order of the logits, and must fail.
"""
import argparse
import ctypes as ct
import sys

import numpy as np
import torch

from decode_kernel import SHAPES, Engine, Model, Module

f32 = np.float32
SEEN = np.uint32(1 << 31)
DRAWS = {
    "likeliest, penalties": dict(temperature=0, repetition=1.3, presence=0.5, frequency=0.25),
    "top-k 20, top-p 0.95": dict(temperature=0.6, topK=20, topP=0.95),
    "top-k 1": dict(temperature=0.6, topK=1),
    "top-k 64, min-p, penalties": dict(temperature=1.2, topK=64, minP=0.02, repetition=1.2, presence=0.4, frequency=0.3),
    "temperature 1": dict(temperature=1.0),
    "temperature 2, repetition": dict(temperature=2.0, repetition=1.5),
    "top-p 0.8": dict(temperature=0.3, topP=0.8),
    "min-p 0.3": dict(temperature=0.3, minP=0.3),
    "top-p 0.999": dict(temperature=1.0, topP=0.999),
}


class Sampling(ct.Structure):
    """`Sampling` of Kernels/Decode/Sampling.cuh."""

    _fields_ = (
        [(n, ct.c_uint32) for n in ("draw", "kept", "isWhole")]
        + [(n, ct.c_float) for n in ("temperature", "minP", "repetition", "presence", "frequency")]
        + [("leftOut", ct.c_double), ("counts", ct.c_uint64), ("uniform", ct.c_uint64)]
    )


def weight(x):
    """exp(x) for x up to 0, in the steps of Exponential.swift."""
    clamped = np.where(x < f32(-87), f32(-87), x)
    n = (clamped * f32(1.442695041) + f32(12582912)) - f32(12582912)
    r = (clamped - n * f32(0.693359375)) + n * f32(2.12194440e-4)
    series = np.full_like(r, f32(1) / f32(5040))
    for divisor in (720, 120, 24, 6, 2, 1, 1):
        series = series * r + f32(1) / f32(divisor)
    power = ((n.astype(np.int32) + 127) << 23).astype(np.int32).view(f32)
    return np.where(x < f32(-87), f32(0), series * power)


def choose(logits, p, counts, uniform, broken):
    """The token, and how near to an edge the draw lies."""
    x = logits.copy()
    seen, times = counts >= SEEN, (counts & ~SEEN).astype(f32)
    repetition, presence, frequency = (f32(p.get(n, d)) for n, d in (("repetition", 1), ("presence", 0), ("frequency", 0)))
    if repetition != 1:
        x = np.where(seen, np.where(x < 0, x * repetition, x / repetition), x)
    if presence != 0 or frequency != 0:
        x = np.where(times > 0, x - (presence + frequency * times), x)
    if p["temperature"] == 0:
        return int(x.argmax()), 1.0
    v = np.minimum(x / f32(p["temperature"]), np.finfo(f32).max)
    k, ids = p.get("topK", 0), np.arange(len(v))
    if 0 < k < len(v):
        ids = np.nonzero(v >= np.partition(v, len(v) - k)[len(v) - k])[0]
    kept = np.ones(len(ids), bool)
    w = weight(v[ids] - v.max()).astype(np.float64)
    if f32(p.get("topP", 1)) < 1 and len(ids) > 1:
        limit = (1 - float(f32(p["topP"]))) * np.cumsum(w)[-1]
        order = np.lexsort((ids, v[ids]))
        kept[order[: min(int(np.searchsorted(np.cumsum(w[order]), limit, side="right")), len(ids) - 1)]] = False
    kept &= w >= f32(p.get("minP", 0))
    ids, w = ids[kept], w[kept]
    if broken == "order":
        order = np.argsort(-w, kind="stable")
        ids, w = ids[order], w[order]
    sums = np.cumsum(w)
    target = uniform * sums[-1]
    passing = np.nonzero((sums > target) & (w > 0))[0]
    at = passing[0] if len(passing) else np.nonzero(w > 0)[0][-1]
    return int(ids[at]), min(abs(sums[at] - target), abs((sums[at - 1] if at else 0) - target)) / sums[-1]


class Sampler(Engine):
    """The form of the kernel that draws; its parameters lie in the exchange area behind the zeros."""

    def __init__(self, model, defines):
        slots = defines["DECODE_SLOTS"] - 2
        super().__init__(model, defines | {"DECODE_SAMPLING": 1, "DECODE_SLOTS": slots, "DECODE_HEAD_FLIGHT": min(defines["DECODE_HEAD_FLIGHT"], slots)})
        self.at, size, peaks, idsOfPeak, limit = Module("Decode/Megakernel.cu", self.defines).words("apus_decode_sampling")
        assert size == ct.sizeof(Sampling), size
        self.most = min(limit, peaks, -(-model.s.V // idsOfPeak))

    def prepare(self, p, counts, uniform):
        self.uniform = torch.tensor(uniform, dtype=torch.float64, device="cuda")
        self.counts = torch.tensor(counts.astype(np.int64), device="cuda").to(torch.int32)
        k, whole = p.get("topK", 0), p.get("topP", 1) < 1 or p.get("minP", 0) > 0
        draw = 0 if p["temperature"] == 0 else 1 if k > 0 or whole else 2
        self.given = Sampling(
            draw, k if k > 0 else self.most, int(k == 0), p["temperature"], p.get("minP", 0), p.get("repetition", 1), p.get("presence", 0),
            p.get("frequency", 0), 1 - float(f32(p["topP"])) if "topP" in p else 0, self.counts.data_ptr(), self.uniform.data_ptr())

    def clear(self):
        super().clear()
        self.exchange[self.at : self.at + ct.sizeof(Sampling)] = torch.tensor(list(bytes(self.given)), dtype=torch.uint8).cuda()


def verify(engine, name, p, steps, broken):
    size, generator = engine.model.s.V, np.random.default_rng(1)
    counts = np.zeros(size, np.uint32)
    prompt = generator.integers(0, size, 3)
    counts[prompt] |= SEEN
    uniform = generator.random(steps)
    token, step, wrong, near, handedBack = int(prompt[-1]), 0, 0, 0, 0
    engine.reserve(steps + 8, isRandom=False)
    while step < steps:
        logits = torch.full((steps - step, size), float("nan"), device="cuda")
        engine.prepare(p, counts, uniform[step:])
        engine.run(step, steps - step, [token], logits)
        rows = logits.cpu().numpy()
        for row, chosen in zip(rows, engine.chosen.tolist()):
            token, edge = choose(row, p, counts, uniform[step], broken)
            isHandedBack = chosen == -2
            handedBack += isHandedBack
            if not isHandedBack and chosen != token:
                wrong, near = wrong + (edge > 1e-9), near + (edge <= 1e-9)
                if not 0 <= chosen < size:
                    return False
                token = chosen
            counts[token] = (counts[token] + 1) | SEEN
            step += 1
            if isHandedBack:
                break
    print(f"  {name}: {steps} tokens, {wrong} wrong, {near} on an edge, {handedBack} handed back", flush=True)
    return wrong == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shapes", default="qwen3-0.6b")
    parser.add_argument("--contexts", default="1,200")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--break", dest="broken", choices=["order"])
    options = parser.parse_args()
    torch.zeros(1, device="cuda")
    isRight = True
    for name in options.shapes.split(","):
        model = Model(SHAPES[name])
        defines = SHAPES[name].defines()
        plain, engine = Engine(model, defines), Sampler(model, defines)
        print(f"{name}, {torch.cuda.get_device_name()}, {engine.blocks} blocks, up to {engine.most} candidates")
        draws = {n: p | {"topK": min(p["topK"], engine.most)} if "topK" in p else p for n, p in DRAWS.items()}
        for draw, p in draws.items():
            isRight &= verify(engine, draw, p, options.steps, options.broken)
        for context in [int(c) for c in options.contexts.split(",") if c]:
            plain.reserve(context + 700, isRandom=True)
            engine.cache, engine.pointers, engine.map = plain.cache, plain.pointers, plain.map
            plain.run(0, 600, [5])
            print(f"  context {context}: greedy {sorted(plain.run(context - 1, 96, [5]) for _ in range(5))[2]:.1f} us a token", flush=True)
            for draw, p in draws.items():
                engine.prepare(p, np.zeros(model.s.V, np.uint32), np.random.default_rng(1).random(96))
                times = sorted(engine.run(context - 1, 96, [5]) for _ in range(5))
                if bool((engine.chosen >= 0).all()):
                    print(f"    {draw}: {times[2]:.1f}", flush=True)
        del plain, engine, model
        torch.cuda.empty_cache()
    sys.exit(0 if isRight else 1)


if __name__ == "__main__":
    main()
