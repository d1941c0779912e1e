"""Writes operators.safetensors beside itself: inputs, and what PyTorch and the models of transformers make of them.

Made with Python 3.11, torch 2.13.0 (CPU), transformers 5.23.0, safetensors 0.8.0, seed 20261121:
    pip install torch transformers safetensors && python make_goldens.py
"""

import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.gemma3.modeling_gemma3 import apply_rotary_pos_emb as rotate_gemma3
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm
from transformers.models.qwen3.modeling_qwen3 import apply_rotary_pos_emb as rotate_qwen3

HERE = pathlib.Path(__file__).parent
torch.manual_seed(20261121)
out = {}
HALF, BRAIN = torch.float16, torch.bfloat16


def tables(tokens, head, base=10000.0):
    """cos and sin as the models make them: both halves hold the same angles."""
    angles = torch.outer(torch.arange(tokens, dtype=torch.float64), base ** (-torch.arange(0, head, 2, dtype=torch.float64) / head))
    both = torch.cat([angles, angles], -1)
    return both.cos().float(), both.sin().float()


def norm_of_rows():
    """One norm over all heads, then half rotation head by head."""
    batch, tokens, heads, head = 2, 7, 3, 32
    for name, dtype in (("half", HALF), ("brain", BRAIN), ("float", torch.float32)):
        x, w = torch.randn(batch, tokens, heads * head).to(dtype), (1 + 0.3 * torch.randn(heads * head)).to(dtype)
        cos, sin = tables(tokens, head)
        y = F.rms_norm(x.double(), (heads * head,), w.double(), 1e-6).view(batch, tokens, heads, head).transpose(1, 2)
        y, _ = rotate_qwen3(y, y, cos.double()[None], sin.double()[None])
        out.update({f"rows.{name}.x": x, f"rows.{name}.weight": w, f"rows.{name}.y": y.transpose(1, 2).reshape(batch, tokens, -1).to(dtype)})
        out.update({f"rows.{name}.cos": cos, f"rows.{name}.sin": sin})


def norm_of_heads():
    """The q norm and rotation of Qwen3 (w) and Gemma3 (1 + w), by the models' own modules, in float64."""
    for name, module, rotate, head, base in (("qwen3", Qwen3RMSNorm, rotate_qwen3, 128, 1e6), ("gemma3", Gemma3RMSNorm, rotate_gemma3, 256, 1e4)):
        batch, tokens, heads = 1, 5, 2
        x = torch.randn(batch, tokens, heads, head)
        norm = module(head, eps=1e-6)
        with torch.no_grad():
            norm.weight.copy_(0.4 * torch.randn(head) + (1 if name == "qwen3" else 0))
            cos, sin = tables(tokens, head, base)
            y = norm(x).transpose(1, 2)
            y, _ = rotate(y, y, cos[None], sin[None])
        out.update({f"heads.{name}.x": x, f"heads.{name}.weight": norm.weight.detach().clone(), f"heads.{name}.y": y.transpose(1, 2).contiguous()})
        out.update({f"heads.{name}.cos": cos, f"heads.{name}.sin": sin})


def products():
    m, n, k = 5, 13, 33
    a, b, bias, residual = torch.randn(m, k).to(BRAIN), torch.randn(n, k).to(BRAIN), torch.randn(n), torch.randn(m, n).to(BRAIN)
    c = F.gelu(a.double() @ b.double().t() + bias.double(), approximate="tanh") + residual.double()
    out.update({"gemm.a": a, "gemm.b": b, "gemm.bias": bias, "gemm.residual": residual, "gemm.c": c.to(BRAIN)})
    x, gate, up = torch.randn(2, 3, k).to(HALF), (torch.randn(n, k) * k**-0.5).to(HALF), (torch.randn(n, k) * k**-0.5).to(HALF)
    out.update({"mlp.x": x, "mlp.gate": gate, "mlp.up": up})
    g, u = x.double() @ gate.double().t(), x.double() @ up.double().t()
    for name, act in (("silu", F.silu), ("gelu-erf", F.gelu), ("gelu-tanh", lambda v: F.gelu(v, approximate="tanh"))):
        out[f"mlp.{name}"] = (act(g) * u).to(HALF)
    out["mlp.wrong"] = (g * F.silu(u)).to(HALF)  # gate * act(up), which some have computed


def float8():
    """Quantisation with the scale's own arithmetic in fp32, and the product of what the codes stand for."""
    x = torch.randn(9, 21) * 3
    x[2] = 0
    out["fp8.x"] = x
    for name, dtype, top in (("e4m3", torch.float8_e4m3fn, 448.0), ("e5m2", torch.float8_e5m2, 57344.0)):
        for axis, largest in (("tensor", x.abs().amax().view(1, 1)), ("row", x.abs().amax(1, keepdim=True)), ("column", x.abs().amax(0, keepdim=True))):
            scale = torch.where(largest > 0, largest / top, torch.ones_like(largest))
            inverse = torch.where(largest > 0, top / largest, torch.ones_like(largest))
            out[f"fp8.{name}.{axis}.codes"] = (x * inverse).clamp(-top, top).to(dtype).view(torch.uint8)
            out[f"fp8.{name}.{axis}.scales"] = scale.flatten()
    a, b = torch.randn(6, 48).to(torch.float8_e4m3fn), torch.randn(10, 48).to(torch.float8_e4m3fn)
    sa, sb, bias = torch.rand(6) + 0.5, torch.rand(1) + 0.5, torch.randn(10)
    c = (a.double() @ b.double().t()) * sa.double()[:, None] * sb.double() + bias.double()
    out.update({"fp8gemm.a": a.view(torch.uint8), "fp8gemm.b": b.view(torch.uint8), "fp8gemm.sa": sa, "fp8gemm.sb": sb, "fp8gemm.bias": bias, "fp8gemm.c": c.float()})


def splitmix(count, seed):
    """The 64-bit outputs of SplitMix64."""
    import numpy as np

    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.uint64(0x9E3779B97F4A7C15) * np.arange(1, count + 1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def million_casts():
    """A million floats of random bits, and FNV-1a over the bytes that PyTorch casts them to. NaN apart: its sign differs between code paths."""
    import numpy as np

    bits = (splitmix(1 << 20, 42) >> np.uint64(32)).astype(np.uint32)
    # Half of them moved into the formats' range: exponents 2^-20 to 2^19.
    bits[::2] = (bits[::2] & np.uint32(0x807FFFFF)) | ((107 + (bits[::2] >> np.uint32(23)) % np.uint32(40)) << np.uint32(23))
    x = torch.from_numpy(bits.view(np.float32).copy())
    x[torch.isnan(x)] = 0
    for name, dtype in (("e4m3", torch.float8_e4m3fn), ("e5m2", torch.float8_e5m2)):
        h = 0xCBF29CE484222325
        for byte in x.to(dtype).view(torch.uint8).numpy().tobytes():
            h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
        out[f"casts.{name}"] = torch.tensor([h & 0xFFFFFFFF, h >> 32], dtype=torch.int64).to(torch.int32)


def attend(q, k, v, mask, scale):
    """[tokens, heads, D] in float64; key heads repeated for their group."""
    group = q.shape[1] // k.shape[1]
    q, k, v = q.double().transpose(0, 1), k.double().repeat_interleave(group, 1).transpose(0, 1), v.double().repeat_interleave(group, 1).transpose(0, 1)
    return F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask, scale=scale)[0].transpose(0, 1)


def attention():
    heads, key_heads, head, lengths = 4, 2, 16, (1, 9, 6)
    total = sum(lengths)
    q, k, v = torch.randn(total, heads, head).to(BRAIN), torch.randn(total, key_heads, head).to(BRAIN), torch.randn(total, key_heads, head).to(BRAIN)
    out.update({"attention.q": q, "attention.k": k, "attention.v": v})
    for name in ("full", "causal", "window"):
        parts, first = [], 0
        for length in lengths:
            i, j = torch.arange(length)[:, None], torch.arange(length)[None]
            mask = {"full": j >= 0, "causal": j <= i, "window": (j <= i) & (j > i - 4)}[name].expand(length, length)
            part = slice(first, first + length)
            parts.append(attend(q[part], k[part], v[part], mask, head**-0.5))
            first += length
        out[f"attention.{name}"] = torch.cat(parts).to(BRAIN)
    # Three queries behind six keys of a cache.
    mask = torch.arange(9)[None] <= torch.arange(3)[:, None] + 6
    out["attention.cached"] = attend(q[7:10], k[1:10], v[1:10], mask, 0.1).to(BRAIN)


def sampling():
    x = torch.randn(4, 37) * 4
    out["sampling.x"] = x
    out["sampling.softmax"] = torch.softmax(x.double() / 0.7, -1).float()
    values, indices = x.topk(9, dim=-1)
    out["sampling.top"], out["sampling.indices"] = values, indices.to(torch.int32)


for make in (norm_of_rows, norm_of_heads, products, float8, million_casts, attention, sampling):
    make()
save_file({name: value.contiguous() for name, value in out.items()}, HERE / "operators.safetensors", {"seed": "20261121", "torch": torch.__version__})
