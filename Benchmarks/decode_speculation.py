"""The decode megakernel's form of several positions a step: its bits against those of one position, and what it costs and gains.

    python3 Benchmarks/decode_speculation.py [--shapes qwen3-0.6b,gemma3-270m,bundled] [--positions 2,4] [--contexts 1,200,1900] [--weights 8] [--cache fp8]

Random weights as in decode_kernel.py. The same tokens are forced on the form of one position and on that of several: the logits of every position must
be equal, bit for bit, with the attention split and not. Then both go on freely behind a prompt that repeats itself: all tokens must be the same, and
their number a step is printed. Exit status 1 otherwise; `--break tokens` forces other tokens on the second form, and must fail.
"""
import argparse
import ctypes as ct
import sys

import torch

import decode_kernel
from decode_kernel import SHAPES, Arguments, Engine, Model, check, driver, launch

LIMIT = 232448  # bytes of shared memory of a block


class Lookup(ct.Structure):
    """`Lookup` of Kernels/Decode/SpeculationState.cuh."""

    _fields_ = [("history", ct.c_uint64), ("count", ct.c_int32), ("guesses", ct.c_int32)]


class Wide:
    """The form of `positions` with the packed weights of an engine; launches take both."""

    def __init__(self, engine, positions):
        self.engine, self.positions = engine, positions
        def compiled(slots):
            flights = {n: min(engine.defines[n], slots) for n in ("DECODE_FLIGHT", "DECODE_HEAD_FLIGHT")}
            return decode_kernel.Module("Decode/Megakernel.cu", engine.defines | flights | {"DECODE_POSITIONS": positions, "DECODE_SLOTS": slots})

        # As DecodePlan.swift has it: the ring takes what the positions leave.
        least = compiled(4).words("apus_decode_sizes")[0]
        slots = min(196608 // engine.chunkBytes, 4 + (LIMIT - 128 - least) // (engine.chunkBytes + 16))
        kernels = compiled(slots)
        words = kernels.words("apus_decode_sizes")
        self.slots = slots
        self.kernel = kernels.kernel("apus_decode")
        self.shared, self.threads, self.exchangeBytes = words[0], words[1], words[7]
        check(driver.cuFuncSetAttribute(self.kernel, 8, self.shared), f"{self.shared} bytes of shared memory")
        self.inputAt, size, self.most, self.recent = kernels.words("apus_decode_lookup")
        assert size == ct.sizeof(Lookup) and self.most == positions
        self.exchange = torch.zeros(self.exchangeBytes, dtype=torch.uint8, device="cuda")

    def run(self, position, steps, forced, logits=None, fullSplits=None, history=None, guesses=0):
        e, s = self.engine, self.engine.model.s
        assert steps <= self.recent
        self.forced = torch.tensor(forced, dtype=torch.int32, device="cuda")
        self.history = torch.tensor(history or [forced[0]], dtype=torch.int32, device="cuda")
        self.chosen = torch.full((steps,), -7, dtype=torch.int32, device="cuda")
        self.handed = torch.zeros(steps, dtype=torch.int64, device="cuda")
        self.exchange.zero_()
        given = Lookup(self.history.data_ptr(), len(self.history), guesses)
        self.exchange[self.inputAt : self.inputAt + 16] = torch.frombuffer(bytearray(bytes(given)), dtype=torch.uint8).cuda()
        where = [t.data_ptr() for t in (e.layers, e.head, e.model.embedding, e.norms, e.infos, e.model.frequencies, e.pointers, self.exchange)]
        a = Arguments(*where, logits.data_ptr() if logits is not None else 0, self.forced.data_ptr(), self.chosen.data_ptr(), self.handed.data_ptr(), 0,
                      e.error.data_ptr(), e.exponents.data_ptr() if e.cacheBits == 8 else 0, s.V if logits is not None else 0, steps, len(forced), position, steps, 0, 0,
                      e.fullSplits if fullSplits is None else fullSplits, s.embeddingScale,
                      s.V, e.capacity, (ct.c_int32 * 16)())
        start, end = torch.cuda.Event(True), torch.cuda.Event(True)
        start.record()
        launch(self.kernel, e.blocks, self.threads, self.shared, [a, e.map], cooperative=True, cluster=e.cluster)
        end.record()
        torch.cuda.synchronize()
        word = int(e.error.item()) & 0xFFFFFFFF
        if word:
            raise RuntimeError(f"block {word >> 16} gave up wait {word & 255} in layer {word >> 8 & 255}")
        self.launches = int((self.handed[-1] >> 44) & 0xFFF)
        return start.elapsed_time(end) * 1000


def verify(engine, wide, count, broken):
    """Bit for bit: from nothing, and behind random caches where splits begin, reach their number, and a window of 512 slides."""
    s = engine.model.s
    ids = torch.randint(0, s.V, (count,), generator=torch.Generator().manual_seed(5)).tolist()
    isRight = True
    for start, fullSplits in ((0, 128), (0, 16), (112, 64), (250, 64), (500, 128), (700, 64), (1012, 128), (3000, 128)):
        n = count if start == 0 else min(count, 33)
        given = [(i + 1) % s.V if broken else i for i in ids[:n]]
        engine.reserve(start + n, isRandom=start > 0)
        plain = torch.full((n, s.V), float("nan"), device="cuda")
        engine.run(start, n, ids[:n], plain, fullSplits=fullSplits)
        if start == 0:
            engine.reserve(n, isRandom=False)
        several = torch.full((n, s.V), float("nan"), device="cuda")
        wide.run(start, n, given, several, fullSplits=fullSplits)
        equal = (plain == several).all(-1)
        first = int((~equal).nonzero()[0]) if not equal.all() else -1
        print(f"  {wide.positions} positions, forced behind {start}, whole attention up to {fullSplits}: {int(equal.sum())} of {n} bit-equal, "
              f"first other {first}, largest difference {(plain - several).abs().max().item():.2e}, {wide.launches} steps", flush=True)
        isRight &= bool(equal.all())
    return isRight


def free(engine, wide, prompt, count):
    """Tokens behind a prompt, both ways."""
    engine.reserve(len(prompt) + count + 8, isRandom=False)
    engine.run(0, len(prompt) + count - 1, prompt)
    expected = engine.chosen.tolist()[len(prompt) - 1:]
    engine.reserve(len(prompt) + count + 8, isRandom=False)
    engine.run(0, len(prompt) - 1, prompt[:-1])
    time = wide.run(len(prompt) - 1, count, prompt[-1:], history=prompt, guesses=wide.positions - 1)
    got = wide.chosen.tolist()
    plainTime = min(engine.run(len(prompt) - 1, count, prompt[-1:]) for _ in range(2)) * count
    time = min(time, wide.run(len(prompt) - 1, count, prompt[-1:], history=prompt, guesses=wide.positions - 1))
    same = sum(a == b for a, b in zip(expected, got))
    print(f"  {wide.positions} positions, free behind {len(prompt)}: {same} of {count} tokens the same, {wide.launches} steps, "
          f"{count / max(1, wide.launches):.2f} tokens a step, {time / count:.1f} us a token, plain {plainTime / count:.1f}: "
          f"{plainTime / time:.2f} x", flush=True)
    return same == count


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shapes", default="qwen3-0.6b")
    parser.add_argument("--positions", default="2,4")
    parser.add_argument("--contexts", default="1,200,1900")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--steps", type=int, default=96)
    parser.add_argument("--weights", type=int, default=16, choices=[8, 16], help="bits of a weight")
    parser.add_argument("--cache", default="bf16", choices=["bf16", "fp8"])
    parser.add_argument("--define", action="append", default=[])
    parser.add_argument("--break", dest="broken", choices=["tokens"])
    options = parser.parse_args()
    torch.zeros(1, device="cuda")
    isRight = True
    for name in options.shapes.split(","):
        model = Model(SHAPES[name])
        defines = SHAPES[name].defines(options.weights, 8 if options.cache == "fp8" else 16) | dict(d.split("=", 1) for d in options.define)
        engine = Engine(model, defines)
        engine.chunkBytes = 8 * defines["DECODE_CHUNK"] * 32 * options.weights
        for positions in [int(p) for p in options.positions.split(",")]:
            wide = Wide(engine, positions)
            print(f"{name}, {torch.cuda.get_device_name()}, {positions} positions, {wide.slots} chunks in the ring, {wide.shared} bytes of shared memory",
                  flush=True)
            isRight &= verify(engine, wide, min(options.count, wide.recent), options.broken)
            period = torch.randint(0, model.s.V, (24,), generator=torch.Generator().manual_seed(9)).tolist()
            isRight &= free(engine, wide, period * 8, 256)
            contexts = [int(c) for c in options.contexts.split(",") if c]
            if contexts:
                engine.reserve(max(contexts) + 600, isRandom=True)
            for context in contexts:
                n = options.steps
                plain = sorted(engine.run(context - 1, n, [5]) for _ in range(3))[1]
                single = sorted(wide.run(context - 1, n, [5]) / n for _ in range(3))[1]
                full = sorted(wide.run(context - 1, n, list(range(7, 7 + n))) / wide.launches for _ in range(3))[1]
                print(f"  context {context}: plain {plain:.1f} us a step, without a guess {single:.1f} ({single / plain:.3f}), {positions} positions "
                      f"{full:.1f} ({full / plain:.3f}), so at most {positions * plain / full:.2f} x", flush=True)
        del engine, model
        torch.cuda.empty_cache()
    sys.exit(0 if isRight else 1)


if __name__ == "__main__":
    main()
