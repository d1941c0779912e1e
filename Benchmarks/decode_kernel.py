"""The decode megakernel by itself: correctness against PyTorch in fp32, and microseconds a token.

    python3 Benchmarks/decode_kernel.py [--shapes qwen3-0.6b,gemma3-270m] [--contexts 1,200,500,1900] [--weights 8] [--define DECODE_FLIGHT=3]

Random weights of the true shapes, fixed seed. Needs PyTorch with CUDA, nvcc, and an sm_80 or newer GPU; nothing of Swift. Teacher-forced: logits of
every position against an fp32 forward of the same bf16 weights; exit status 1 when the largest KL is above 1e-3, or where a likeliest token differs
although the reference's two likeliest are more than 0.05 apart. `--break rope` or `--break headnorm` changes the reference, and must fail.

`--weights 8` packs the matrices as E4M3 with a factor a row. The reference then has the same rounded weights, so the bounds stay; what the rounding
itself costs against bf16 is printed beside it: mean and largest KL, and how often the likeliest token is the same.

`--cache fp8` keeps keys and values as E4M3 codes with an exponent a row. Rounding to so few bits turns a difference of 1e-6 into one of a step here and there, so
what is checked is a token behind a cache that kernel and reference share, code for code, and the row that it appends. `--break exponents` gives each row the
factor of the one before, and must fail. What the codes cost from nothing on, and times beside the bf16 cache's, are printed.
"""
import argparse
import ctypes as ct
import os
import subprocess
import sys
import tempfile

import torch

KERNELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Kernels")
CHUNK = 16384
driver = ct.CDLL("libcuda.so.1")


def check(status, what):
    if status != 0:
        text = ct.c_char_p()
        driver.cuGetErrorString(status, ct.byref(text))
        raise RuntimeError(f"{what}: {text.value}")


class Arguments(ct.Structure):
    """`Arguments` of Kernels/Decode/State.cuh."""

    _fields_ = (
        [(n, ct.c_uint64)
         for n in "layers head embedding norms infos frequencies cache exchange logits forced chosen handed stop error exponents".split()]
        + [("logitStride", ct.c_int64)]
        + [(n, ct.c_int32) for n in "handedCount forcedCount position steps firstHead stopCount fullSplits".split()]
        + [("embeddingScale", ct.c_float), ("sampleable", ct.c_int32), ("capacity", ct.c_int32), ("stops", ct.c_int32 * 16)]
    )


class TensorMap(ct.Structure):
    _fields_ = [("words", ct.c_uint64 * 16)]


def tensorMap(cache, rows):
    """Boxes of 128 bytes of `rows` positions of one head, out of a cache [2 L, capacity, G, D]; in shared memory swizzled by 128 bytes."""
    (count, capacity, G, D), size = cache.shape, cache.element_size()
    raw = ct.create_string_buffer(192)
    at = ct.c_void_p((ct.addressof(raw) + 63) // 64 * 64)
    check(driver.cuTensorMapEncodeTiled(
        at, 9 if size == 2 else 0, 4, ct.c_void_p(cache.data_ptr()), (ct.c_uint64 * 4)(D, G, capacity, count),
        (ct.c_uint64 * 3)(size * D, size * D * G, size * D * G * capacity), (ct.c_uint32 * 4)(128 // size, 1, rows, 1), (ct.c_uint32 * 4)(1, 1, 1, 1), 0, 3, 3, 0),
        "a tensor map of the cache")
    return TensorMap.from_buffer_copy(ct.string_at(at, 128))


class LaunchAttribute(ct.Structure):
    _fields_ = [("id", ct.c_int), ("pad", ct.c_int), ("words", ct.c_uint32 * 16)]


class LaunchForm(ct.Structure):
    _fields_ = [("grid", ct.c_uint * 3), ("block", ct.c_uint * 3), ("shared", ct.c_uint), ("stream", ct.c_void_p),
                ("attributes", ct.POINTER(LaunchAttribute)), ("count", ct.c_uint)]


class LayerWeights(ct.Structure):
    _fields_ = [(n, ct.c_uint64) for n in "q k v o gated down".split()]


class Module:
    def __init__(self, source, defines):
        major, minor = torch.cuda.get_device_capability()
        name = f"{major}{minor}{'a' if major >= 9 else ''}"
        with tempfile.TemporaryDirectory() as folder:
            open(f"{folder}/apus_constants.h", "w").write("#pragma once\n" + "".join(f"#define {k} {v}\n" for k, v in defines.items()))
            subprocess.run(
                ["nvcc", f"-gencode=arch=compute_{name},code=sm_{name}", "--cubin", "-std=c++17", f"-I{KERNELS}", f"-I{folder}", "-o",
                 f"{folder}/k.cubin", f"{KERNELS}/{source}"], check=True)
            self.handle = ct.c_void_p()
            check(driver.cuModuleLoadData(ct.byref(self.handle), open(f"{folder}/k.cubin", "rb").read()), source)

    def kernel(self, name):
        f = ct.c_void_p()
        check(driver.cuModuleGetFunction(ct.byref(f), self.handle, name.encode()), name)
        return f

    def words(self, name):
        at, size = ct.c_uint64(), ct.c_size_t()
        check(driver.cuModuleGetGlobal_v2(ct.byref(at), ct.byref(size), self.handle, name.encode()), name)
        words = (ct.c_uint32 * (size.value // 4))()
        check(driver.cuMemcpyDtoH_v2(words, at, size), name)
        return list(words)


def launch(kernel, grid, block, shared, values, cooperative=False, cluster=1):
    pointers = (ct.c_void_p * len(values))(*[ct.cast(ct.byref(v), ct.c_void_p) for v in values])
    stream = ct.c_void_p(torch.cuda.current_stream().cuda_stream)
    if cooperative:
        attributes = (LaunchAttribute * 2)()
        attributes[0].id, attributes[0].words[0] = 2, 1
        attributes[1].id, attributes[1].words[0:3] = 4, (cluster, 1, 1)
        form = LaunchForm((grid, 1, 1), (block, 1, 1), shared, stream, attributes, 2)
        check(driver.cuLaunchKernelEx(ct.byref(form), kernel, pointers, None), "cooperative launch")
    else:
        check(driver.cuLaunchKernel(kernel, grid, 1, 1, block, 1, 1, shared, stream, pointers, None), "launch")


def address(tensor, offset=0):
    return ct.c_uint64(tensor.data_ptr() + offset)


class Shape:
    def __init__(self, C, I, H, G, D, L, V, gemma=False, base=1e6):
        self.C, self.I, self.H, self.G, self.D, self.L, self.V, self.gemma = C, I, H, G, D, L, V, gemma
        long = [not gemma or (i + 1) % 6 == 0 for i in range(L)]
        self.windows = [0 if x else 512 for x in long]
        self.kinds = [0 if x else 1 for x in long]
        self.bases = (base, 1e4)
        self.offset = 1.0 if gemma else 0.0
        self.embeddingScale = float(torch.tensor(C**0.5).bfloat16()) if gemma else 1.0

    def defines(self, weights=16, cache=16):
        # As DecodePlan.swift has them.
        C, I, H, G, D = self.C, self.I, self.H, self.G, self.D
        processors = torch.cuda.get_device_properties(0).multi_processor_count

        def up(count, unit):
            return (count + unit - 1) // unit

        def products(groups, members):
            """Rows and columns of a block in each product of a layer: input, output, gated, down."""
            blocks, feeds = members * groups, groups
            for f in range(2, groups if groups > 4 else 0):
                if groups % f == 0 and I // f <= 1536 and up(up(C, blocks // f), 16) * groups <= up(up(C, members), 16) * f:
                    feeds = f
                    break
            size = blocks // feeds
            pairs, rows = up(I // feeds, size), up(C, size)
            return [((H // groups + 2) * D // members, C), (groups // feeds * rows, H // groups * D), (up(pairs, 8) * 16, C), (rows, pairs * size)]

        def fragments(groups, members, unit):
            return sum(up(up(r, 16) * up(c, 128), unit) * unit for r, c in products(groups, members))

        most = 8 if weights == 8 else 4  # fragments of a warp in a chunk of 16 KB

        def share(groups):
            """The fewest blocks whose share of the weights, in chunks of 16 KB, is no more than that of as many as there may be; 16 share long contexts."""
            def total(members):
                return self.L * fragments(groups, members, most) + up(self.V, 64 * members * groups) * up(up(C, 32), most) * most

            counts = [m for m in range(1, processors // groups + 1) if (H // groups + 2) * D // 4 % m == 0]
            return next(m for m in counts if m >= min(16, counts[-1]) and total(m) <= total(counts[-1]))

        # Key heads are shared, as far as their query heads go, until a group has 40 blocks at most; the columns of a warp belong to one head.
        shared = [G * n for n in range(1, H // G + 1) if H // G % n == 0 and I % (G * n) == 0 and D % (up(H // (G * n) * D, 128) * 16) == 0]
        groups = next((g for g in shared if share(g) <= 40), shared[-1])
        members = share(groups)
        # Half as large where whole chunks make a layer a tenth larger than that; not in bf16 where a product has no more than one.
        whole = fragments(groups, members, most)
        chunk = most // 2 if 10 * whole > 11 * fragments(groups, members, most // 2) and (weights == 8 or whole > 4 * most) else most
        layer = 2 * (C * D * 2 * (H + G) + 3 * C * I)
        flight = 65536 if layer * weights // 16 > 48 << 20 else 32768 if layer > 48 << 20 or weights == 16 else 16384
        if weights == 16 and 48 << 20 < layer <= 128 << 20:
            flight = 49152
        size = 8 * chunk * 32 * weights
        # Where the exchanges set the speed two blocks share an attention, and rows of the cache are staged if that leaves the ring its length.
        isSmall = layer * weights // 16 <= 48 << 20 and D * cache // 8 <= 256
        pairs = torch.cuda.get_device_capability()[0] == 9 and members % 2 == 0 and members > 2 and isSmall
        # Shared memory beside the ring.
        heads, shapes = H // groups, products(groups, members)
        rows, columns = [up(r, 16) * 16 for r, _ in shapes], up(up(C, 32), chunk) * chunk * 32
        token, sums = 4 * heads * D + 8 * D, 48 * max(rows)
        vector = 4 * max(up(C, 128) * 128, columns, up(heads * D, 128) * 128, up(shapes[3][1], 128) * 128)
        isWhole = C % 128 == 0 and columns == C and shapes[3][1] % 128 == 0
        parts = 32 * heads * (D + 2) + (4 * up(heads * D, 128) * 128 if isWhole else vector)
        beside = (sums + token if D > 128 else max(sums, 48 * rows[0] + token)) + max(vector, parts) + 8 * D + 24 * self.L + 1024
        beside += 8 * sum(rows) if weights == 8 else 0
        warpColumns = up(heads * D, 128) * 16
        beside += 8 * (128 * (2 if warpColumns <= 32 else warpColumns // 32 + 4 & ~3) + 12) + 128 if pairs else 0
        stage, left = 256 * D * cache // 8, 232448 - beside
        isStaged = pairs and D * cache // 8 % 128 == 0 and stage <= min(196608, left) - 98304
        slots = (min(212992, left) - stage if isStaged else min(196608, left)) // size
        d = dict(C=C, I=I, H=H, G=G, D=D, L=self.L, V=self.V, MEMBERS=members, WEIGHTS=weights, CHUNK=chunk, FLIGHT=flight // size,
                 HEAD_FLIGHT=min(131072 // size, slots), SLOTS=slots, SANDWICH=int(self.gemma), ACTIVATION=2 if self.gemma else 1,
                 SCALE=f"{D ** -0.5}f")
        forms = (("CACHE", cache, cache != 16), ("CLUSTER", 2, pairs), ("STAGE", 1, isStaged), ("GROUPS", groups, groups > G))
        return {"DECODE_" + k: v for k, v in d.items()} | {"DECODE_" + k: v for k, v, isThere in forms if isThere}


SHAPES = {
    "qwen3-0.6b": Shape(1024, 3072, 16, 8, 128, 28, 151936),
    "qwen3-1.7b": Shape(2048, 6144, 16, 8, 128, 28, 151936),
    "qwen3-4b": Shape(2560, 9728, 32, 8, 128, 36, 151936),
    "gemma3-270m": Shape(640, 2048, 4, 1, 256, 18, 262144, gemma=True),
    "gemma3-1b": Shape(1152, 6912, 4, 1, 256, 26, 262144, gemma=True),
    "bundled": Shape(192, 384, 4, 2, 64, 6, 2048, base=1e4),
}


def factorOf(exponents):
    return (exponents.to(torch.int32) << 23).view(torch.float32)[..., None]


def codeRows(x):
    """Rows of a cache in E4M3: codes, exponents, and what they mean. The factor 2^(e - 127) is the least with max |x| / factor <= 448."""
    most = x.abs().amax(-1)
    e = (((most.view(torch.int32) + 0x1FFFFF) >> 23) - 8).clamp(min=1)
    e = torch.where(most == 0, 127, e)
    factor = factorOf(e)
    codes = (x / factor).to(torch.float8_e4m3fn)
    return codes.view(torch.uint8), e.to(torch.uint8), codes.float() * factor


class Model:
    """Random weights, and their forward in fp32."""

    def __init__(self, shape, seed=1):
        self.s = s = shape
        g = torch.Generator(device="cuda").manual_seed(seed)

        def matrix(rows, columns):
            return (torch.randn(rows, columns, device="cuda", generator=g) / columns**0.5).bfloat16()

        def norm(count):
            return ((torch.randn(count, device="cuda", generator=g) * 0.2 + 1.0) - s.offset).bfloat16()

        self.embedding = (torch.randn(s.V, s.C, device="cuda", generator=g) * (0.02 if s.gemma else 0.1)).bfloat16()
        self.layers = []
        for _ in range(s.L):
            layer = dict(q=matrix(s.H * s.D, s.C), k=matrix(s.G * s.D, s.C), v=matrix(s.G * s.D, s.C), o=matrix(s.C, s.H * s.D),
                         gate=matrix(s.I, s.C), up=matrix(s.I, s.C), down=matrix(s.C, s.I))
            names = ["n1", "n2"] + (["p1", "p2"] if s.gemma else [])
            layer |= {n: norm(s.C) for n in names} | {"qn": norm(s.D), "kn": norm(s.D)}
            self.layers.append(layer)
        self.final = norm(s.C)
        self.head = self.embedding
        self.frequencies = torch.stack(
            [torch.tensor([b ** (-2.0 * i / s.D) for i in range(s.D // 2)], dtype=torch.float64).float() for b in s.bases]).cuda().contiguous()

    def rounded(self):
        """The same model with matrices as the kernel's 8-bit form has them, in fp32; the embedding's rows stay as they are."""
        def code(w):
            w = w.float()
            # Divided by a number on the GPU: by one of Python's it would be a product with the inverse, and ties would go the other way.
            factor = w.abs().amax(-1, keepdim=True) / torch.full((1,), 448.0, device=w.device)
            factor[factor == 0] = 1.0
            return (w / factor).to(torch.float8_e4m3fn).float() * factor

        other = object.__new__(Model)
        other.__dict__ |= self.__dict__
        other.layers = [{n: code(w) if w.dim() == 2 else w for n, w in layer.items()} for layer in self.layers]
        other.head = code(self.head)
        return other

    def norm(self, x, w):
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6) * (w.float() + self.s.offset)

    @torch.no_grad()
    def forward(self, ids, broken=None, start=0, cache=None):
        """Logits [T, V]. `cache`: of each layer keys and values [start, G, D] before these tokens, in fp32; the tokens' own are then rounded as
        an E4M3 cache has them, and left in `self.coded`: of each layer (codes, exponents, values) of keys and of values."""
        s, T = self.s, len(ids)
        self.coded = []
        x = self.embedding[ids].float() * s.embeddingScale
        positions, places = start + torch.arange(T, device="cuda"), torch.arange(start + T, device="cuda")
        frequencies = self.frequencies if broken != "rope" else self.frequencies.pow(1.5)
        for index, w in enumerate(self.layers):
            h = self.norm(x, w["n1"])
            q, k, v = [(h @ w[n].float().T).view(T, -1, s.D) for n in "qkv"]
            if broken != "headnorm":
                q, k = self.norm(q, w["qn"]), self.norm(k, w["kn"])
            angle = positions.float()[:, None] * frequencies[s.kinds[index]][None]
            cos, sin, half = angle.cos()[:, None], angle.sin()[:, None], s.D // 2
            q, k = [torch.cat([t[..., :half] * cos - t[..., half:] * sin, t[..., half:] * cos + t[..., :half] * sin], -1) for t in (q, k)]
            if cache is not None:
                self.coded.append([codeRows(k), codeRows(v)])
                k, v = [torch.cat([old, new[2]]) for old, new in zip(cache[index], self.coded[-1])]
            k, v = [t.repeat_interleave(s.H // s.G, 1) for t in (k, v)]
            scores = torch.einsum("thd,shd->hts", q, k) * s.D**-0.5
            distance = positions[:, None] - places[None]
            seen = distance >= 0
            if s.windows[index]:
                seen &= distance < s.windows[index]
            o = torch.einsum("hts,shd->thd", scores.masked_fill(~seen, -1e30).softmax(-1), v).reshape(T, -1)
            branch = o @ w["o"].float().T
            x = x + (self.norm(branch, w["p1"]) if s.gemma else branch)
            h = self.norm(x, w["n2"])
            gate = h @ w["gate"].float().T
            gate = torch.nn.functional.gelu(gate, approximate="tanh") if s.gemma else torch.nn.functional.silu(gate)
            branch = (gate * (h @ w["up"].float().T)) @ w["down"].float().T
            x = x + (self.norm(branch, w["p2"]) if s.gemma else branch)
        return self.norm(x, self.final) @ self.head.float().T


class Engine:
    def __init__(self, model, defines):
        s = model.s
        self.model = model
        forms = ("DECODE_CACHE", "DECODE_CLUSTER", "DECODE_STAGE", "DECODE_SLOTS", "DECODE_HEAD_FLIGHT")
        packing = Module("Decode/Pack.cu", {k: v for k, v in defines.items() if k not in forms})
        layerChunks, headChunks, norm, layerNorms, exchange, chunk, floats = self.load(defines)
        layerBytes = self.blocks * layerChunks * chunk
        self.layers = torch.empty(s.L * layerBytes, dtype=torch.uint8, device="cuda")
        self.head = torch.empty(self.blocks * headChunks * chunk, dtype=torch.uint8, device="cuda")
        self.norms = torch.zeros(floats, device="cuda")
        packLayer, packHead, packNorm, packScales, packHeadScales = [
            packing.kernel("apus_decode_pack_" + n) for n in ("layer", "head", "norm", "scales", "head_scales")]
        self.hasCodes = floats > s.L * layerNorms + norm
        scalesAt, headScalesAt = s.L * layerNorms + norm, floats - s.V

        def put(vector, at, isHead=0):
            full = vector.float()
            launch(packNorm, 1, 256, 0, [address(full), address(self.norms, 4 * at), ct.c_float(s.offset), ct.c_int(isHead)])
            torch.cuda.synchronize()

        for index, w in enumerate(model.layers):
            gated = torch.stack([w["gate"].view(-1, 8, s.C), w["up"].view(-1, 8, s.C)], 1).contiguous()
            weights = LayerWeights(*[t.data_ptr() for t in (w["q"], w["k"], w["v"], w["o"], gated, w["down"])])
            scales = address(self.norms, 4 * (scalesAt + index * (headScalesAt - scalesAt) // s.L))
            if self.hasCodes:
                launch(packScales, self.blocks, 256, 0, [weights, scales])
            launch(packLayer, self.blocks * layerChunks, chunk // 16, 0, [weights, address(self.layers, index * layerBytes), scales])
            torch.cuda.synchronize()
            at = index * layerNorms
            for place, name in enumerate(["n1", "n2"] + (["p1", "p2"] if s.gemma else [])):
                put(w[name], at + place * norm)
            put(w["qn"], at + layerNorms - 2 * s.D, 1)
            put(w["kn"], at + layerNorms - s.D, 1)
        put(model.final, s.L * layerNorms)
        scales = address(self.norms, 4 * headScalesAt)
        if self.hasCodes:
            launch(packHeadScales, (s.V + 7) // 8, 256, 0, [address(model.embedding), scales])
        launch(packHead, self.blocks * headChunks, chunk // 16, 0, [address(model.embedding), address(self.head), scales])
        self.infos = torch.tensor([x for pair in zip(s.windows, s.kinds) for x in pair], dtype=torch.int32, device="cuda")
        self.exchange = torch.zeros(exchange, dtype=torch.uint8, device="cuda")
        self.error = torch.zeros(1, dtype=torch.int32, device="cuda")
        torch.cuda.synchronize()

    def load(self, defines):
        """The kernel with these constants; what it says of its sizes."""
        module = Module("Decode/Megakernel.cu", defines)
        self.kernel = module.kernel("apus_decode")
        (self.shared, self.threads, self.blocks, layerChunks, headChunks, norm, layerNorms, exchange, size, chunk,
         floats) = module.words("apus_decode_sizes")
        assert size == ct.sizeof(Arguments), size
        self.defines, self.chunk, self.cacheBits = defines, chunk, int(defines.get("DECODE_CACHE", 16))
        self.cluster = int(defines.get("DECODE_CLUSTER", 1))
        self.fullSplits = 64 if self.cluster > 1 else 128
        check(driver.cuFuncSetAttribute(self.kernel, 8, self.shared), f"{self.shared} bytes of shared memory")
        return layerChunks, headChunks, norm, layerNorms, exchange, chunk, floats

    def other(self, **constants):
        """Another form with the same packed weights."""
        form = object.__new__(Engine)
        form.__dict__ |= self.__dict__
        form.load(self.defines | constants)
        return form

    def reserve(self, capacity, isRandom):
        """A cache of NaN, or of random rows."""
        s, self.capacity = self.model.s, capacity
        isCoded = self.cacheBits == 8
        self.cache = torch.full((2 * s.L, capacity, s.G, s.D), 0x7F if isCoded else float("nan"), dtype=torch.uint8 if isCoded else torch.bfloat16,
                                device="cuda")
        self.exponents = torch.full((2 * s.L, capacity, s.G), 255, dtype=torch.uint8, device="cuda") if isCoded else None
        if isRandom:
            for i, t in enumerate(self.cache):
                rows = torch.randn(capacity, s.G, s.D, device="cuda")
                if isCoded:
                    codes, self.exponents[i], _ = codeRows(rows)
                t.copy_(codes if isCoded else rows)
        self.pointers = torch.tensor([t.data_ptr() for t in self.cache], dtype=torch.int64, device="cuda")
        rowBytes = s.D * self.cache.element_size()
        self.map = tensorMap(self.cache, min(32, self.chunk // rowBytes)) if self.threads > 256 and rowBytes >= 128 else TensorMap()

    def clear(self):
        self.exchange.zero_()

    def run(self, position, steps, forced, logits=None, fullSplits=None):
        s = self.model.s
        self.forced = torch.tensor(forced, dtype=torch.int32, device="cuda")
        self.chosen = torch.full((steps,), -7, dtype=torch.int32, device="cuda")
        self.clear()
        where = [t.data_ptr() for t in (self.layers, self.head, self.model.embedding, self.norms, self.infos, self.model.frequencies, self.pointers,
                                        self.exchange)]
        a = Arguments(*where, logits.data_ptr() if logits is not None else 0, self.forced.data_ptr(), self.chosen.data_ptr(), 0, 0,
                      self.error.data_ptr(), self.exponents.data_ptr() if self.cacheBits == 8 else 0, s.V if logits is not None else 0, 1, len(forced), position, steps, 0, 0,
                      self.fullSplits if fullSplits is None else fullSplits, s.embeddingScale,
                      s.V, self.capacity, (ct.c_int32 * 16)())
        start, end = torch.cuda.Event(True), torch.cuda.Event(True)
        start.record()
        launch(self.kernel, self.blocks, self.threads, self.shared, [a, self.map], cooperative=True, cluster=self.cluster)
        end.record()
        torch.cuda.synchronize()
        word = int(self.error.item()) & 0xFFFFFFFF
        if word:
            raise RuntimeError(f"block {word >> 16} gave up wait {word & 255} in layer {word >> 8 & 255}")
        return start.elapsed_time(end) * 1000 / steps


def verify(engine, positions, seed, broken):
    model = engine.model
    ids = torch.randint(0, model.s.V, (positions,), generator=torch.Generator().manual_seed(seed)).tolist()
    engine.reserve(positions, isRandom=False)
    logits = torch.full((positions, model.s.V), float("nan"), device="cuda")
    engine.run(0, positions, ids, logits, fullSplits=48)
    again = torch.empty_like(logits)
    engine.run(0, positions, ids, again, fullSplits=48)
    reference = (model.rounded() if engine.hasCodes else model).forward(ids, broken)
    kl = divergence(logits, reference).max().item()
    top = reference.topk(2, -1)
    differs = (logits.argmax(-1) != top.indices[:, 0]) & (top.values[:, 0] - top.values[:, 1] > 0.05)
    isChosen = bool((engine.chosen.long() == logits.argmax(-1)).all())
    isRepeated = bool((logits == again).all())
    error = (logits - reference).abs().max().item()
    print(f"  {positions} positions, seed {seed}: KL {kl:.2e}, {int(differs.sum())} wrong, error {error:.3f} of std {reference.std().item():.2f}, "
          f"choice {'right' if isChosen else 'WRONG'}, {'bit-equal again' if isRepeated else 'NOT REPEATABLE'}", flush=True)
    if engine.hasCodes:
        whole = model.forward(ids, broken)
        cost = divergence(logits, whole)
        same = (logits.argmax(-1) == whole.argmax(-1)).float().mean().item()
        print(f"    against the bf16 weights: KL {cost.mean().item():.2e} in the mean, {cost.max().item():.2e} at most, "
              f"likeliest token the same at {100 * same:.1f} %", flush=True)
    return kl <= 1e-3 and not differs.any() and isChosen and isRepeated


def divergence(logits, reference):
    return torch.nn.functional.kl_div(logits.log_softmax(-1), reference.log_softmax(-1), log_target=True, reduction="none").sum(-1)


def verifyCoded(engine, behind, seed, broken, count=3):
    """Tokens behind a random cache of codes, one at a time: each against the reference behind the very same codes, and the row that it appends."""
    s, isBroken = engine.model.s, broken == "exponents"
    reference = engine.model.rounded() if engine.hasCodes else engine.model
    random = torch.Generator(device="cuda").manual_seed(seed + behind)
    engine.reserve(behind + count, isRandom=False)
    cache = []
    for layer in range(s.L):
        halves = []
        for half, spread in enumerate((1.0, 4.0)):  # factors of two, either way
            rows = torch.randn(behind, s.G, s.D, device="cuda", generator=random)
            rows *= torch.exp2(spread * (2 * torch.rand(behind, s.G, 1, device="cuda", generator=random) - 1))
            codes, exponents, meant = codeRows(rows)
            engine.cache[2 * layer + half, :behind] = codes
            engine.exponents[2 * layer + half, :behind] = exponents.roll(1, 0) if isBroken else exponents
            halves.append(meant)
        cache.append(halves)
    worst = wrong = flips = far = 0
    isChosen = isRepeated = True
    error = splitError = 0.0
    for step in range(count):
        at, token = behind + step, int(torch.randint(0, s.V, (1,), device="cuda", generator=random))
        logits, again, other = [torch.full((1, s.V), float("nan"), device="cuda") for _ in range(3)]
        engine.run(at, 1, [token], again)
        engine.run(at, 1, [token], other, fullSplits=16 if behind < 128 else 1 << 30 if behind < 1000 else 128)
        engine.run(at, 1, [token], logits)
        expected = reference.forward([token], None if isBroken else broken, at, cache)
        worst = max(worst, divergence(logits, expected).max().item())
        top = expected.topk(2, -1)
        wrong += int(((logits.argmax(-1) != top.indices[:, 0]) & (top.values[:, 0] - top.values[:, 1] > 0.05)).sum())
        error, splitError = max(error, (logits - expected).abs().max().item()), max(splitError, (logits - other).abs().max().item())
        isChosen &= bool((engine.chosen.long() == logits.argmax(-1)).all())
        isRepeated &= bool((logits == again).all())
        for layer, halves in enumerate(reference.coded):
            for half, (codes, exponents, meant) in enumerate(halves):
                i = 2 * layer + half
                got = engine.cache[i, at].view(torch.float8_e4m3fn).float() * factorOf(engine.exponents[i, at])
                unit = factorOf(exponents[0])
                stepSize = unit * torch.exp2((meant[0].abs() / unit).clamp(min=2.0**-6).log2().floor() - 3)
                flips += int((got != meant[0]).sum())
                far += int((~((got - meant[0]).abs() <= stepSize + meant[0].abs().amax(-1, keepdim=True) / 128)).sum())
                # From here on both have the reference's row.
                engine.cache[i, at], engine.exponents[i, at] = codes[0], exponents[0]
                cache[layer][half] = torch.cat([cache[layer][half], meant])
    total = count * 2 * s.L * s.G * s.D
    isRight = worst <= 1e-3 and not wrong and isChosen and isRepeated and not far and flips <= 0.1 * total and splitError <= max(0.05, error)
    print(f"  behind {behind} coded positions: KL {worst:.2e}, {wrong} wrong, error {error:.3f} of std {expected.std().item():.2f}, split otherwise "
          f"{splitError:.3f}; {flips} of {total} numbers appended are others, {far} by more than a step and 1/128 of the row's largest; choice {'right' if isChosen else 'WRONG'}, "
          f"{'bit-equal again' if isRepeated else 'NOT REPEATABLE'}{'' if isRight else ': FAILED'}", flush=True)
    return isRight


def loss(engine, plain, positions, seed):
    """What coding the cache costs from nothing on, beside the bf16 cache; both against the fp32 forward of the weights that they have."""
    s = engine.model.s
    ids = torch.randint(0, s.V, (positions,), generator=torch.Generator().manual_seed(seed)).tolist()
    reference = (engine.model.rounded() if engine.hasCodes else engine.model).forward(ids)
    for name, form in (("bf16", plain), ("fp8", engine)):
        form.reserve(positions, isRandom=False)
        logits = torch.full((positions, s.V), float("nan"), device="cuda")
        form.run(0, positions, ids, logits)
        kl = divergence(logits, reference)
        same = (logits.argmax(-1) == reference.argmax(-1)).float().mean().item()
        print(f"  cache in {name}, {positions} positions from nothing: KL {kl.mean().item():.2e} in the mean, {kl.max().item():.2e} at most, "
              f"likeliest token the same at {100 * same:.1f} %", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shapes", default="qwen3-0.6b")
    parser.add_argument("--contexts", default="1,200,500,1900")
    parser.add_argument("--positions", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=96)
    parser.add_argument("--weights", type=int, default=16, choices=[8, 16], help="bits of a weight")
    parser.add_argument("--cache", default="bf16", choices=["bf16", "fp8"])
    parser.add_argument("--behind", default="60,150,600,2300,8192", help="positions of a coded cache that tokens are checked behind")
    parser.add_argument("--define", action="append", default=[])
    parser.add_argument("--break", dest="broken", choices=["rope", "headnorm", "exponents"])
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.zeros(1, device="cuda")
    isRight = True
    contexts = [int(c) for c in options.contexts.split(",") if c]
    for name in options.shapes.split(","):
        model = Model(SHAPES[name])
        engine = Engine(model, SHAPES[name].defines(options.weights) | dict(d.split("=", 1) for d in options.define))
        print(f"{name}, {torch.cuda.get_device_name()}, {engine.blocks} blocks of {engine.threads} threads, {engine.shared} bytes of shared memory")
        forms = {"": engine}
        if options.cache == "fp8":
            coded = engine.other(**SHAPES[name].defines(options.weights, 8) | dict(d.split("=", 1) for d in options.define))
            forms = {"cache in bf16, ": engine, "cache in fp8, ": coded}
            for seed in range(options.seeds):
                for behind in [int(b) for b in options.behind.split(",") if b]:
                    isRight &= verifyCoded(coded, behind, seed, options.broken)
                loss(coded, engine, options.positions, seed)
        else:
            for seed in range(options.seeds):
                isRight &= verify(engine, options.positions, seed, options.broken)
        if contexts:
            for form in forms.values():
                form.reserve(max(contexts) + 600, isRandom=True)
                for _ in range(3):
                    form.run(0, 600, [5])
        for context in contexts:
            for name, form in forms.items():
                times = sorted(form.run(context - 1, options.steps, [5]) for _ in range(3))
                print(f"  {name}context {context}: {times[1]:.1f} us a token, {1e6 / times[1]:.0f} tok/s ({times[0]:.1f} to {times[2]:.1f})", flush=True)
        del engine, model
        torch.cuda.empty_cache()
    sys.exit(0 if isRight else 1)


if __name__ == "__main__":
    main()
