"""What PyTorch does for the operators of Apus, on one GPU: cuBLASLt, cuDNN and torch.compile at the shapes of docs/kernels-operators.md.

Every row captures its call in a CUDA graph over several input sets (so that one call's inputs have left L2 before they come again) and
prints the median of the replays in microseconds, with the rate. Random data; no row is timed on zeros. Rows of one group are replayed
in turn, round by round, so that all of them see the same clocks.

usage: python3 torch_operators.py [gemm] [gated] [fused] [fp8] [norm] [quantize] [attention] [rows]     (all of them without arguments)
"""
import statistics
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

bf16, f8 = torch.bfloat16, torch.float8_e4m3fn


def random(*shape, dtype=bf16):
    return torch.randn(*shape, device="cuda", dtype=torch.float32).to(dtype)


def capture(calls, repetitions):
    for call in calls:
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(repetitions):
            calls[i % len(calls)]()
    return graph


def race(rows, repetitions=20, rounds=11):
    """{name: calls over rotated inputs} -> {name: median microseconds per call}"""
    graphs = {name: capture(calls, repetitions) for name, calls in rows.items()}
    times = {name: [] for name in graphs}
    for turn in range(rounds + 2):
        for name, graph in graphs.items():
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            graph.replay()
            end.record()
            end.synchronize()
            if turn > 1:
                times[name].append(start.elapsed_time(end) * 1e3 / repetitions)
    return {name: statistics.median(t) for name, t in times.items()}


def show(title, result, amount, unit):
    cells = ", ".join(f"{name} {us:.1f} us {amount / us / 1e6:.{0 if unit == 'TFLOP/s' else 2}f} {unit}" for name, us in result.items())
    print(f"{title}: {cells}", flush=True)


def sets(bytes_per_set):
    return max(2, min(8, int(2e8 / bytes_per_set) + 1))


def gemm():
    shapes = [(8192, 8192, 8192)] + [(m, n, k) for m in (8192, 65536) for n, k in ((1536, 640), (640, 1024), (4096, 640), (640, 2048))]
    for m, n, k in shapes:
        count = sets(2 * (m * k + n * k + m * n))
        a, b = [random(m, k) for _ in range(count)], [random(n, k) for _ in range(count)]
        c = [torch.empty(m, n, device="cuda", dtype=bf16) for _ in range(count)]
        calls = [lambda x=x, y=y, z=z: torch.mm(x, y.t(), out=z) for x, y, z in zip(a, b, c)]
        show(f"gemm bf16 {m} x {n} x {k}", race({"cuBLASLt": calls}, 8 if m == n else 20), 2 * m * n * k, "TFLOP/s")


def gated():
    activations = {"silu": F.silu, "gelu-tanh": lambda v: F.gelu(v, approximate="tanh"), "gelu-erf": F.gelu}
    for m, h, i in ((8192, 640, 2048), (8192, 1024, 3072), (4096, 4096, 11008)):
        x, w = [random(m, h) for _ in range(3)], random(2 * i, h) * h**-0.5
        for name, activation in activations.items():
            if name != "silu" and h != 640:
                continue

            def mlp(v, f=activation):
                gate, up = (v @ w.t()).chunk(2, -1)
                return f(gate) * up

            compiled = torch.compile(mlp, dynamic=False)
            rows = {"GEMM + compiled pointwise": [lambda v=v: compiled(v) for v in x], "GEMM alone": [lambda v=v: v @ w.t() for v in x]}
            show(f"gated mlp {name} {m} x {h} -> {i}", race(rows), 4 * m * h * i, "TFLOP/s")


def fused():
    for m, n, k in ((8192, 640, 1024), (8192, 640, 2048), (65536, 640, 1024), (65536, 640, 2048)):
        count = sets(2 * (m * k + 2 * m * n))
        a, r, b = [random(m, k) for _ in range(count)], [random(m, n) for _ in range(count)], random(n, k) * k**-0.5

        def project(x, y):
            z = x @ b.t() + y
            return z, z.float().pow(2).sum(-1)

        compiled = torch.compile(project, dynamic=False)
        rows = {"GEMM + residual + row squares": [lambda x=x, y=y: compiled(x, y) for x, y in zip(a, r)]}
        show(f"fused {m} x {n} x {k}", race(rows), 2 * m * n * k, "TFLOP/s")


def fp8():
    one = torch.ones((), device="cuda")
    shapes = ((8192, 8192, 8192), (8192, 4096, 640), (65536, 4096, 640), (65536, 640, 2048), (4096, 3072, 1024), (8192, 6144, 2048))
    for m, n, k in shapes:
        a, b = [random(m, k, dtype=f8) for _ in range(2)], [random(n, k, dtype=f8) for _ in range(2)]
        row, column = torch.rand(m, 1, device="cuda") + 0.5, torch.rand(1, n, device="cuda") + 0.5

        def product(scale_a, scale_b, fast):
            return [lambda x=x, y=y: torch._scaled_mm(x, y.t(), scale_a=scale_a, scale_b=scale_b, out_dtype=bf16, use_fast_accum=fast)
                    for x, y in zip(a, b)]

        rows = {"per tensor": product(one, one, False), "per tensor, fast": product(one, one, True),
                "row x column": product(row, column, False), "row x column, fast": product(row, column, True)}
        show(f"gemm e4m3 {m} x {n} x {k}", race(rows, 8 if m == n else 20), 2 * m * n * k, "TFLOP/s")
        top = min(m, 1024)
        exact = a[0][:top].double() @ b[0].double().t()
        for fast in (False, True):
            got = torch._scaled_mm(a[0][:top], b[0].t(), scale_a=one, scale_b=one, out_dtype=torch.float32, use_fast_accum=fast)
            print(f"  relative error{' fast' if fast else ''} {((got.double() - exact).norm() / exact.norm()).item():.1e}", flush=True)


def norm():
    batch, length, hidden, head = 8, 2048, 4096, 64
    x = [random(batch, length, hidden, dtype=torch.float16) for _ in range(4)]
    y = [torch.empty_like(v) for v in x]
    weight = random(hidden, dtype=torch.float16)
    cosine, sine = (random(length, head, dtype=torch.float16)[None, :, None, : head // 2] for _ in range(2))

    def normalise(v):
        z = (F.rms_norm(v.float(), (hidden,), eps=1e-6).half() * weight).view(batch, length, hidden // head, head)
        first, second = z[..., : head // 2], z[..., head // 2 :]
        return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1).view_as(v)

    compiled = torch.compile(normalise, dynamic=False)
    rows = {"compiled": [lambda v=v: compiled(v) for v in x], "copy": [lambda v=v, u=u: u.copy_(v) for v, u in zip(x, y)]}
    show(f"rmsnorm + rope ({batch}, {length}, {hidden}) f16", race(rows), 4 * x[0].numel(), "TB/s")
    for tokens, width in ((65536, 640), (65536, 1024)):
        x = [random(tokens, width) for _ in range(4)]
        y = [torch.empty_like(v) for v in x]
        w = random(width)
        compiled_norm = torch.compile(lambda v, w=w, width=width: F.rms_norm(v, (width,), w, 1e-6), dynamic=False)
        rows = {"compiled": [lambda v=v: compiled_norm(v) for v in x], "copy": [lambda v=v, u=u: u.copy_(v) for v, u in zip(x, y)]}
        show(f"rmsnorm {tokens} x {width} bf16", race(rows), 4 * x[0].numel(), "TB/s")


def quantize():
    x = [random(16384, 4096) for _ in range(3)]

    def rows_to_codes(v):
        largest = v.float().abs().amax(1, keepdim=True)
        return (v.float() * (448 / largest)).to(f8), largest / 448

    compiled = torch.compile(rows_to_codes, dynamic=False)
    show("quantize per row 16384 x 4096", race({"compiled": [lambda v=v: compiled(v) for v in x]}), 3 * x[0].numel(), "TB/s")


def attention():
    def run(head, query_heads, kv_heads, length, tokens=16384):
        batch = max(1, tokens // length)
        q, k, v = (random(batch, query_heads, length, head) for _ in range(3))
        grouped = [t[:, :kv_heads].contiguous() for t in (k, v)]

        def call(keys, values, group):
            with sdpa_kernel(SDPBackend.CUDNN_ATTENTION), torch.no_grad():
                return F.scaled_dot_product_attention(q, keys, values, is_causal=True, enable_gqa=group)

        rows = {"cuDNN, K and V expanded": [lambda: call(k, v, False)]}
        if kv_heads != query_heads:
            rows["cuDNN, grouped"] = [lambda: call(*grouped, True)]
        flops = 2 * batch * query_heads * length * length * head
        show(f"attention causal D {head}, heads {query_heads}/{kv_heads}, {batch} x {length}", race(rows, 8, 9), flops, "TFLOP/s")

    for head, query_heads, kv_heads in ((256, 4, 1), (128, 16, 8)):
        for length in (128, 512, 1024, 4096, 16384):
            run(head, query_heads, kv_heads, length)
    run(64, 16, 16, 4096)


def rows():
    for count, columns in ((1, 151936), (64, 151936), (1, 262144)):
        x = [random(count, columns, dtype=torch.float32) for _ in range(8)]
        result = race({"softmax": [lambda v=v: torch.softmax(v, 1) for v in x], "argmax": [lambda v=v: torch.argmax(v, 1) for v in x],
                       "topk 50": [lambda v=v: torch.topk(v, 50, 1) for v in x]}, 16)
        show(f"rows {count} x {columns} f32", result, 4 * x[0].numel(), "TB/s")


if __name__ == "__main__":
    groups = {f.__name__: f for f in (gemm, gated, fused, fp8, norm, quantize, attention, rows)}
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, CUDA {torch.version.cuda}", flush=True)
    for name in sys.argv[1:] or groups:
        groups[name]()
