"""What PyTorch does for the operators of Apus, on one GPU: cuBLASLt, cuDNN and torch.compile at the shapes of `apus bench operators`.

Each case has the title that Apus gives it. A row captures its call in a CUDA graph over several input sets, so that one call's inputs have left
L2 before they come again, and gives the times of the replays, in microseconds a call. Random data; nothing is timed on zeros. Rows of one
case are replayed in turn, so that all of them see the same clocks.

usage: python3 torch_operators.py [TEXT ...]     all cases, or those whose titles hold one of the texts
       python3 torch_operators.py --serve        reads titles, one a line, and answers each with {"rows": {NAME: [microseconds, ...]}};
                                                 a title that comes again is timed again as it was prepared
"""
import json
import os
import statistics
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

bf16, f16, f8 = torch.bfloat16, torch.float16, torch.float8_e4m3fn
ACTIVATIONS = {"silu": F.silu, "gelu-tanh": lambda v: F.gelu(v, approximate="tanh"), "gelu-erf": F.gelu}
cases = {}


def case(title):
    """Adds a function that makes {row name: calls over rotated inputs} under a title."""
    return lambda make: cases.setdefault(title, make)


def random(*shape, dtype=bf16, scale=1.0):
    return (torch.randn(*shape, device="cuda", dtype=torch.float32) * scale).to(dtype)


def sets(bytes_per_set):
    return max(2, min(8, int(2.4e8 / bytes_per_set) + 1))


def compiled(function):
    return torch.compile(function, dynamic=False)


for m, n, k in [(8192, 8192, 8192), (8192, 1024, 3072)] + [
        (m, n, k) for m in (8192, 65536) for n, k in ((1536, 640), (640, 1024), (4096, 640), (640, 2048))]:
    @case(f"gemm {m} x {n} x {k} bfloat16")
    def gemm(m=m, n=n, k=k):
        count = sets(2 * (m * k + n * k + m * n))
        a, b = [random(m, k) for _ in range(count)], [random(n, k, scale=k**-0.5) for _ in range(count)]
        c = [torch.empty(m, n, device="cuda", dtype=bf16) for _ in range(count)]
        return {"PyTorch": [lambda x=x, y=y, z=z: torch.mm(x, y.t(), out=z) for x, y, z in zip(a, b, c)]}

for m, n, k in [(m, 640, k) for m in (8192, 65536) for k in (1024, 2048)]:
    @case(f"gemm + residual {m} x {n} x {k} bfloat16")
    def residual(m=m, n=n, k=k):
        count = sets(2 * (m * k + n * k + 2 * m * n))
        a, r = [random(m, k) for _ in range(count)], [random(m, n) for _ in range(count)]
        b = [random(n, k, scale=k**-0.5) for _ in range(count)]
        fused, apart = compiled(lambda x, w, y: x @ w.t() + y), compiled(lambda z, y: z + y)
        return {"PyTorch compiled": [lambda x=x, w=w, y=y: fused(x, w, y) for x, w, y in zip(a, b, r)],
                "PyTorch GEMM + compiled pointwise": [lambda x=x, w=w, y=y: apart(x @ w.t(), y) for x, w, y in zip(a, b, r)]}

for m, h, i, name in [(8192, 640, 2048, name) for name in ACTIVATIONS] + [(8192, 1024, 3072, "silu"), (4096, 4096, 11008, "silu")]:
    @case(f"gated {name} {m} x {h} -> {i} bfloat16")
    def gated(m=m, h=h, i=i, activation=ACTIVATIONS[name]):
        x, w = [random(m, h) for _ in range(sets(2 * m * (h + i)))], random(2 * i, h, scale=h**-0.5)

        def mlp(v):
            gate, up = (v @ w.t()).chunk(2, -1)
            return activation(gate) * up

        fused = compiled(mlp)
        return {"PyTorch GEMM + compiled pointwise": [lambda v=v: fused(v) for v in x], "PyTorch GEMM alone": [lambda v=v: v @ w.t() for v in x]}

for m, n, k in ((8192, 8192, 8192), (8192, 4096, 640), (65536, 4096, 640), (65536, 640, 2048), (4096, 3072, 1024), (8192, 6144, 2048)):
    for kind in ("tensor", "row"):
        @case(f"fp8 gemm {kind} scales {m} x {n} x {k}")
        def fp8(m=m, n=n, k=k, kind=kind):
            count = sets(m * k + n * k + 2 * m * n)
            a, b = [random(m, k, dtype=f8) for _ in range(count)], [random(n, k, dtype=f8) for _ in range(count)]
            one = torch.ones((), device="cuda")
            scale_a = torch.rand(m, 1, device="cuda") + 0.5 if kind == "row" else one
            scale_b = torch.rand(1, n, device="cuda") + 0.5 if kind == "row" else one
            return {f"_scaled_mm{', fast sums' if fast else ''}": [
                lambda x=x, y=y, fast=fast: torch._scaled_mm(x, y.t(), scale_a=scale_a, scale_b=scale_b, out_dtype=bf16, use_fast_accum=fast)
                for x, y in zip(a, b)] for fast in (False, True)}


@case("rmsnorm + rope [8, 2048, 4096] D 64 float16")
def row_rotation(batch=8, length=2048, hidden=4096, head=64):
    x = [random(batch, length, hidden, dtype=f16) for _ in range(3)]
    weight = random(hidden, dtype=f16)
    cosine, sine = (random(length, head, dtype=f16)[None, :, None, : head // 2] for _ in range(2))

    def normalise(v):
        z = (F.rms_norm(v.float(), (hidden,), eps=1e-6).half() * weight).view(batch, length, hidden // head, head)
        first, second = z[..., : head // 2], z[..., head // 2 :]
        return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1).view_as(v)

    fused, y = compiled(normalise), [torch.empty_like(v) for v in x]
    return {"PyTorch compiled": [lambda v=v: fused(v) for v in x], "PyTorch copy": [lambda v=v, u=u: u.copy_(v) for v, u in zip(x, y)]}


for tokens, width in ((65536, 640), (65536, 1024)):
    @case(f"rmsnorm {tokens} x {width} bfloat16")
    def norm(tokens=tokens, width=width):
        x, w = [random(tokens, width) for _ in range(3)], random(width)
        fused, y = compiled(lambda v: F.rms_norm(v, (width,), w, 1e-6)), [torch.empty_like(v) for v in x]
        return {"PyTorch compiled": [lambda v=v: fused(v) for v in x], "PyTorch copy": [lambda v=v, u=u: u.copy_(v) for v, u in zip(x, y)]}


@case("quantize per row 16384 x 4096 bfloat16")
def quantize():
    x = [random(16384, 4096) for _ in range(2)]

    def rows_to_codes(v):
        largest = v.float().abs().amax(1, keepdim=True)
        return (v.float() * (448 / largest)).to(f8), largest / 448

    fused = compiled(rows_to_codes)
    return {"PyTorch compiled": [lambda v=v: fused(v) for v in x]}


for head, query_heads, kv_heads, lengths in ((256, 4, 1, (128, 512, 1024, 4096, 16384)), (128, 16, 8, (128, 512, 1024, 4096, 16384)), (64, 16, 16, (4096,))):
    for length in lengths:
        @case(f"attention causal D {head}, heads {query_heads}/{kv_heads}, {16384 // length} x {length}")
        def attention(head=head, query_heads=query_heads, kv_heads=kv_heads, length=length):
            batch, count = 16384 // length, sets(2 * 16384 * head * 2 * (query_heads + kv_heads))
            q, k, v = ([random(batch, query_heads, length, head) for _ in range(count)] for _ in range(3))

            def call(q, k, v, group):
                with sdpa_kernel(SDPBackend.CUDNN_ATTENTION), torch.no_grad():
                    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=group)

            rows = {"cuDNN, K and V expanded": [lambda a=a, b=b, c=c: call(a, b, c, False) for a, b, c in zip(q, k, v)]}
            if kv_heads != query_heads:
                grouped = [[t[:, :kv_heads].contiguous() for t in (b, c)] for b, c in zip(k, v)]
                rows["cuDNN, grouped"] = [lambda a=a, g=g: call(a, *g, True) for a, g in zip(q, grouped)]
            return rows

for count, columns in ((1, 151936), (64, 151936), (1, 262144)):
    for name, function in (("softmax", lambda v: torch.softmax(v, 1)), ("argmax", lambda v: torch.argmax(v, 1)), ("top 50", lambda v: torch.topk(v, 50, 1))):
        @case(f"{name} {count} x {columns} float32")
        def rows(count=count, columns=columns, function=function):
            x = [random(count, columns, dtype=torch.float32, scale=3.0) for _ in range(8)]
            return {"PyTorch": [lambda v=v: function(v) for v in x]}


class Race:
    """The rows of one case, captured and warmed up."""

    def __init__(self, title):
        self.graphs, self.calls = {}, {}
        for name, calls in cases[title]().items():
            for _ in range(2):
                for call in calls:
                    call()
            torch.cuda.synchronize()
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            for i in range(3):
                calls[i % len(calls)]()
            end.record()
            end.synchronize()
            repetitions = max(4, min(20, int(3.0 / max(start.elapsed_time(end) / 3, 1e-4))))
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                for i in range(repetitions):
                    calls[i % len(calls)]()
            # The calls hold their inputs.
            self.graphs[name], self.calls[name] = (graph, repetitions), calls
        self.run(2)

    def run(self, rounds):
        times = {name: [] for name in self.graphs}
        for _ in range(rounds):
            for name, (graph, repetitions) in self.graphs.items():
                start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                start.record()
                graph.replay()
                end.record()
                end.synchronize()
                times[name].append(start.elapsed_time(end) * 1e3 / repetitions)
        return times


def serve():
    # Libraries print as they like; the answers have the real standard output for themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    current, race = None, None
    for line in sys.stdin:
        title = line.rstrip("\n")
        if title not in cases:
            result = {}
        else:
            if title != current:
                race = None
                torch.cuda.empty_cache()
                current, race = title, Race(title)
            result = race.run(4)
        print(json.dumps({"rows": result}), file=answers, flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, CUDA {torch.version.cuda}", flush=True)
        for title in cases:
            if not sys.argv[1:] or any(text in title for text in sys.argv[1:]):
                result = {name: statistics.median(times) for name, times in Race(title).run(11).items()}
                print(f"{title}: " + ", ".join(f"{name} {us:.1f} us" for name, us in result.items()), flush=True)
